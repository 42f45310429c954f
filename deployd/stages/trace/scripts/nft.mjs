// Runs @vercel/nft: `node nft.mjs JOB ANSWER`, both JSON files.
// JOB: {nft, entries, base, processCwd, ignore, conditions, aside}; ANSWER: {files, reasons, warnings}.
// `ignore` and `conditions` are nft's own options, null for its defaults; files below a path of `aside` are not followed.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const [jobFile, answerFile] = process.argv.slice(2);
const job = JSON.parse(readFileSync(jobFile, "utf8"));
const { nodeFileTrace } = createRequire(jobFile)(job.nft);

const options = { base: job.base, processCwd: job.processCwd };
if (job.conditions) options.conditions = job.conditions;
if (job.ignore) options.ignore = job.ignore;
if (job.aside?.length) {
  const isAside = (file) => job.aside.some((folder) => file === folder || file.startsWith(folder + path.sep));
  options.ignore = isAside;
}

const { fileList, reasons, warnings } = await nodeFileTrace(job.entries, options);
writeFileSync(
  answerFile,
  JSON.stringify({
    files: [...fileList],
    reasons: [...reasons].map(([file, why]) => [file, why.type, [...why.parents], why.ignored]),
    warnings: [...warnings].map((warning) => warning.message),
  }),
);
