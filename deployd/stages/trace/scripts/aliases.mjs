// tsconfig.json of the folder that a server starts in -> what a name such as `@/lib/x.js` means, as tsx reads it.
import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const ENDINGS = ["", ".ts", ".tsx", ".mts", ".cts", ".js", ".mjs", ".cjs", ".json", "/index.ts", "/index.tsx", "/index.js"];
const WRITTEN_AS = { ".js": [".ts", ".tsx"], ".mjs": [".mts"], ".cjs": [".cts"], ".jsx": [".tsx"] };
const NAMED = /(\b(?:from|import|require\s*\(|import\s*\()\s*)(["'])([^"'\n]+)\2/g;
const DEEP = 8;

// The aliases of a folder: [[pattern, [absolute targets]]], the longest patterns first; none without a tsconfig.json.
export function aliasesOf(folder) {
  const { paths, baseUrl } = settings(path.join(folder, "tsconfig.json"), DEEP);
  const found = Object.entries(paths ?? {}).sort(([one], [other]) => fixed(other).length - fixed(one).length);
  return baseUrl ? [...found, ["*", [path.join(baseUrl, "*")]]] : found;
}

// A source's text with each alias replaced by the file that it means, if there is one.
export function withoutAliases(text, file, aliases) {
  return text.replace(NAMED, (all, before, quote, name) => {
    const found = /^[./#]|^node:/.test(name) ? null : meant(name, aliases);
    if (!found || found.includes("/node_modules/")) return all;
    const place = path.relative(path.dirname(file), found);
    return `${before}${JSON.stringify(place.startsWith(".") ? place : `./${place}`)}`;
  });
}

function meant(name, aliases) {
  for (const [pattern, targets] of aliases) {
    const [before, after] = pattern.split("*");
    const fits = after === undefined ? name === pattern : name.startsWith(before) && name.endsWith(after);
    if (!fits) continue;
    const middle = after === undefined ? "" : name.slice(before.length, name.length - after.length);
    for (const target of targets) {
      const found = file(target.replace("*", () => middle));
      if (found) return found;
    }
  }
  return null;
}

function file(place) {
  const ending = path.extname(place);
  const typed = (WRITTEN_AS[ending] ?? []).map((one) => place.slice(0, -ending.length) + one);
  return [...typed, ...ENDINGS.map((one) => place + one)].find((one) => statSync(one, { throwIfNoEntry: false })?.isFile());
}

function settings(config, deep) {
  let told;
  try {
    told = JSON.parse(plain(readFileSync(config, "utf8")));
  } catch {
    return {}; // there is none, or nobody can read it
  }
  const here = path.dirname(config);
  const inherited = deep ? [told.extends ?? []].flat().map((name) => settings(extended(name, config), deep - 1)) : [];
  const { paths, baseUrl } = told.compilerOptions ?? {};
  const base = baseUrl && path.resolve(here, baseUrl);
  const own = {};
  if (base) own.baseUrl = base;
  if (paths) {
    own.paths = Object.fromEntries(
      Object.entries(paths).map(([pattern, targets]) => [pattern, targets.map((one) => path.resolve(base ?? here, one))]),
    );
  }
  return Object.assign({}, ...inherited, own);
}

function extended(name, config) {
  if (/^\.{0,2}\//.test(name) || name.startsWith(".")) {
    const place = path.resolve(path.dirname(config), name);
    return place.endsWith(".json") ? place : `${place}.json`;
  }
  const require = createRequire(config);
  for (const one of [name, `${name}.json`, `${name}/tsconfig.json`]) {
    try {
      return require.resolve(one);
    } catch {
      // the next way to write it
    }
  }
  return name;
}

// JSON without the comments and the last commas that TypeScript allows; texts are left as they are.
function plain(text) {
  return text
    .replace(/^\uFEFF/, "")
    .replace(/("(?:[^"\\]|\\.)*")|\/\/[^\n]*|\/\*[^]*?\*\//g, (_, kept) => kept ?? "")
    .replace(/("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])/g, (_, kept) => kept ?? "");
}

function fixed(pattern) {
  return pattern.split("*")[0];
}
