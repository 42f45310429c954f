// Runs @vercel/nft: `node nft.mjs JOB ANSWER`, both JSON files.
// JOB: {nft, entries, base, processCwd, ignore, conditions, aside, types}; ANSWER: {files, reasons, warnings}.
// `ignore` and `conditions` are nft's own options, null for its defaults; files below a path of `aside` are not followed.
// `types` is the module that takes the types out of TypeScript, null where no source is run as TypeScript.
import { readFileSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { aliasesOf, withoutAliases } from "./aliases.mjs";

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
const aliases = job.types ? aliasesOf(job.processCwd ?? job.base) : [];
if (job.types) options.readFile = readPlain;

// nft reads JavaScript alone, and knows no aliases of tsconfig.json: of a file with types that it could not read, the imports are kept.
async function readPlain(file) {
  let source;
  try {
    source = await readFile(file);
  } catch (error) {
    if (error.code === "ENOENT" || error.code === "EISDIR") return null;
    throw error;
  }
  if (!/\.[cm]?tsx?$/.test(file)) return source;
  const text = source.toString();
  const known = (code) => (aliases.length ? withoutAliases(code, file, aliases) : code);
  try {
    if (file.endsWith("x")) throw new Error("amaro reads no JSX");
    return known(createRequire(jobFile)(job.types).transformSync(text, { mode: "transform" }).code);
  } catch {
    const named = text.matchAll(/(?:\bfrom|\bimport|\brequire\(|\bimport\()\s*(["'])([^"'\n]+)\1/g);
    return known([...named].map(([, , name]) => `import ${JSON.stringify(name)};`).join("\n"));
  }
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
