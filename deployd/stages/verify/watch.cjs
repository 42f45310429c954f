/*
 * Preloaded (`node --require`) into the server while its artifact is tried alone, never on a host. What the code looks
 * for and does not find is written, a line of JSON each, into the file that $DEPLOYD_WATCH names:
 *
 *   {"kind": "file", "call": "readFile", "path": "/srv/x/data.json", "url": "/api/report"}
 *   {"kind": "module", "request": "pg", "from": "/srv/x/server.js", "url": null}
 *   {"kind": "dlopen", "path": "/srv/x/a.node", "message": "libvips-cpp.so.42: cannot open ...", "url": null}
 *
 * Nothing that the code sees is changed: each call does what it did, and throws what it threw. Paths are told as given
 * by the program, made absolute; only those below one of $DEPLOYD_WATCH_ROOTS (joined by ":") are.
 */
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { fileURLToPath } = require("node:url");
const { AsyncLocalStorage } = require("node:async_hooks");
const Module = require("node:module");

const out = process.env.DEPLOYD_WATCH;
const roots = (process.env.DEPLOYD_WATCH_ROOTS || "").split(":").filter(Boolean);
// The number of this process is not known before it runs: in a namespace of its own it is another one.
if (process.env.LISTEN_FDS) process.env.LISTEN_PID = String(process.pid);

const asked = new AsyncLocalStorage();
const append = fs.appendFileSync;
const told = new Set();

function tell(event) {
  const url = asked.getStore() ?? null;
  const line = JSON.stringify({ ...event, url });
  if (told.has(line) || told.size > 5000) return; // a page may look a thousand times for one file
  told.add(line);
  try {
    append(out, line + "\n");
  } catch {
    // the folder is gone: the trial is over
  }
}

function missing(call, given) {
  let name = given;
  try {
    if (name instanceof URL) name = fileURLToPath(name);
    else if (Buffer.isBuffer(name)) name = name.toString("utf8");
    if (typeof name !== "string") return; // a descriptor
    name = path.resolve(name);
  } catch {
    return;
  }
  if (roots.some((root) => name === root || name.startsWith(root + "/"))) tell({ kind: "file", call, path: name });
}

const absent = (error) => error && (error.code === "ENOENT" || error.code === "ENOTDIR");

function watchSync(name) {
  const original = fs[name];
  fs[name] = function (...args) {
    try {
      const result = original.apply(this, args);
      if (result === undefined && name.endsWith("statSync")) missing(name, args[0]); // throwIfNoEntry: false
      return result;
    } catch (error) {
      if (absent(error) && !creates(name, args)) missing(name, args[0]);
      throw error;
    }
  };
  return Object.assign(fs[name], original);
}

function watchCallback(name) {
  const original = fs[name];
  fs[name] = function (...args) {
    const last = args.length - 1;
    const callback = args[last];
    if (typeof callback === "function") {
      args[last] = function (error, ...rest) {
        if (absent(error) && !creates(name, args)) missing(name, args[0]);
        return callback.call(this, error, ...rest);
      };
    }
    return original.apply(this, args);
  };
  for (const key of Reflect.ownKeys(original)) {
    if (!Reflect.has(fs[name], key)) Object.defineProperty(fs[name], key, Object.getOwnPropertyDescriptor(original, key));
  }
}

function watchPromise(name) {
  const original = fs.promises[name];
  fs.promises[name] = function (...args) {
    const promise = original.apply(this, args);
    promise.catch((error) => {
      if (absent(error) && !creates(name, args)) missing(name, args[0]);
    });
    return promise;
  };
}

/* Opening in order to write: that the folder is not there is no missing file of the build's. */
function creates(name, args) {
  if (!name.startsWith("open") || name.startsWith("opendir")) return false;
  const flags = args[1];
  return typeof flags === "string" ? /[wa]/.test(flags) : typeof flags === "number" && (flags & fs.constants.O_CREAT) !== 0;
}

const calls = ["open", "readFile", "stat", "lstat", "access", "readdir", "opendir"];
for (const name of calls) {
  watchSync(name + "Sync");
  watchCallback(name);
  watchPromise(name);
}
const exists = fs.existsSync;
fs.existsSync = function (name) {
  const found = exists.call(this, name);
  if (!found) missing("existsSync", name);
  return found;
};
Module.syncBuiltinESMExports(); // for `import { readFile } from "node:fs"`

const resolve = Module._resolveFilename;
Module._resolveFilename = function (request, parent, ...rest) {
  try {
    return resolve.call(this, request, parent, ...rest);
  } catch (error) {
    if (error && error.code === "MODULE_NOT_FOUND") {
      tell({ kind: "module", request: String(request), from: (parent && parent.filename) || null });
    }
    throw error;
  }
};

const dlopen = process.dlopen;
process.dlopen = function (...args) {
  try {
    return dlopen.apply(this, args);
  } catch (error) {
    tell({ kind: "dlopen", path: String(args[1]), message: String(error && error.message) });
    throw error;
  }
};

const emit = http.Server.prototype.emit;
http.Server.prototype.emit = function (event, ...args) {
  if (event !== "request" || asked.getStore() !== undefined) return emit.call(this, event, ...args);
  return asked.run(String(args[0].url), () => emit.call(this, event, ...args));
};
