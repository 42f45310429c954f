// Runs picomatch: `node globs.mjs JOB ANSWER`, both JSON files.
// JOB: {picomatch, sets: {name: [path]}, match: [{glob, set, options}], walk: [{dir, glob}]}
// ANSWER: {match: [[index in the set]], walk: [[path relative to dir]]}
// A byte of a file name that is not UTF-8 is written as the surrogate U+DC00 + byte, as Python does.
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const [jobFile, answerFile] = process.argv.slice(2);
const job = JSON.parse(readFileSync(jobFile, "utf8"));
const picomatch = createRequire(jobFile)(job.picomatch);
const strict = new TextDecoder("utf-8", { fatal: true });

function text(name) {
  try {
    return strict.decode(name);
  } catch {
    return [...name].map((byte) => String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte)).join("");
  }
}

function* filesBelow(folder, at) {
  let entries;
  try {
    entries = readdirSync(folder, { encoding: "buffer", withFileTypes: true });
  } catch {
    return;
  }
  for (const entry of entries) {
    const place = at ? `${at}/${text(entry.name)}` : text(entry.name);
    if (entry.isDirectory()) yield* filesBelow(Buffer.concat([folder, Buffer.from("/"), entry.name]), place);
    else yield place;
  }
}

function walk({ dir, glob }) {
  const { base, isGlob, negated } = picomatch.scan(glob, { unescape: true });
  const start = negated ? "" : base.replace(/\/+$/, "");
  const folder = path.join(dir, start);
  if (!isGlob && !negated) {
    try {
      return statSync(folder).isDirectory() ? [] : [start];
    } catch {
      return [];
    }
  }
  const matches = picomatch(glob, { dot: true });
  return [...filesBelow(Buffer.from(folder), start)].filter((file) => matches(file));
}

const answer = {
  match: job.match.map(({ glob, set, options }) => {
    const matches = picomatch(glob, options);
    return job.sets[set].flatMap((file, index) => (matches(file) ? [index] : []));
  }),
  walk: job.walk.map(walk),
};
writeFileSync(answerFile, JSON.stringify(answer));
