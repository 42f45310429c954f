// Asks an app's own Next.js which files its standalone server needs: `node server.mjs JOB ANSWER`, both JSON files.
// JOB: {dir, root, config, into}; the trace is written into the folder `into`, as `next build` writes it for
// `output: 'standalone'`. ANSWER: {}.
import { writeFileSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const [jobFile, answerFile] = process.argv.slice(2);
const job = JSON.parse(readFileSync(jobFile, "utf8"));
const { collectBuildTraces } = createRequire(path.join(job.dir, "package.json"))("next/dist/build/collect-build-traces");

await collectBuildTraces({
  dir: job.dir,
  config: { ...job.config, output: "standalone" },
  distDir: job.into,
  outputFileTracingRoot: job.root,
  staticPages: [],
  edgeRuntimeRoutes: {},
  pageInfos: new Map(),
  pageKeys: { app: [], pages: [] },
  hasSsrAmpPages: false,
});
writeFileSync(answerFile, "{}");
process.exit(0); // Next.js 13 and 14 leave workers behind
