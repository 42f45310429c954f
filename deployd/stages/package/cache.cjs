/*
 * The cache that the hosts of a fleet share: the second half of the file that is preloaded into every release's server
 * (listen.cjs is the first). Nothing happens without $NODE_DEPLOYD_CACHE, which is JSON:
 *
 *   {"url": "redis://..." | "env": "REDIS_URL", "of": "shop-production"}
 *
 * Next.js keeps its own cache (memory, and files in the release's writable folders), which has the pages of the build.
 * Beside each thing that it keeps, the same is kept in Redis with a time; whoever reads asks Redis for that time alone,
 * and takes what is there when it is newer than its own. Tags that were revalidated are a list in Redis, which is read
 * on with each look. So all tag checks of Next.js's own stay as they are. Times are those of Redis's clock.
 *
 * Where it comes in: on 15 and 16 by the symbol that Next.js looks for (in all its bundles), on 13 and 14 by the module
 * of its own cache. The app's files and its next.config stay as they are; a `cacheHandler` of the app's own wins.
 *
 * When Redis does not answer within half a second, or takes no write, each host goes on by itself, as without it; that
 * is said once. Tags that were revalidated meanwhile are told to the others when it is back.
 */
"use strict";

if (process.env.NODE_DEPLOYD_CACHE) shareCache(JSON.parse(process.env.NODE_DEPLOYD_CACHE));

function shareCache(options) {
  const ANSWER_MS = 500;
  const AGAIN_MS = 1000;
  const CLOCK_MS = 60_000;
  const OVERLAP_MS = 5000; // clocks of hosts are known only to some milliseconds
  const KEPT_SECONDS = 31 * 86_400;
  const KEPT_BYTES = 32 << 20; // of what others made, parsed, in this process
  const TAGS_HEADER = "x-next-cache-tags";

  const url = options.url || process.env[options.env] || "";
  const prefix = `deployd:${options.of}:${process.env.DEPLOYD_RELEASE || "none"}`;
  const path = require("node:path");
  const Module = require("node:module");
  const main = path.resolve(process.argv[1] || "server.js");

  let redis;
  try {
    redis = connection(new URL(url));
  } catch {
    const where = options.env ? `the variable ${options.env}` : "`cache`";
    console.error(`deployd: ${where} is no address of Redis (redis://host:port/0): each host has a cache of its own`);
    return;
  }

  // ------------------------------------------------------------------------------------------------- Redis

  function connection(where) {
    if (!/^rediss?:$/.test(where.protocol) || !where.hostname) throw new Error("no address");
    const host = where.hostname.replace(/^\[|\]$/g, "");
    const target = { host, port: Number(where.port) || 6379, servername: /^[\d.:]+$/.test(host) ? undefined : host };
    const [user, password] = [where.username, where.password].map(decodeURIComponent);
    const database = Number(where.pathname.slice(1)) || 0;
    let socket = null;
    let ready = null; // a promise while there is a connection
    let waiting = [];
    let input = Buffer.alloc(0);
    let down = false;
    let retryAt = 0;
    let ahead = 0; // of Redis's clock, in milliseconds
    let clockAt = 0;
    let refused = ""; // why Redis took no write, as it was said last
    const whenBack = [];

    function fail(error) {
      const [old, failed] = [socket, waiting];
      [socket, ready, waiting, input] = [null, null, [], Buffer.alloc(0)];
      retryAt = Date.now() + AGAIN_MS;
      if (old) old.destroy();
      for (const one of failed) one.reject(error);
      if (!down) {
        down = true;
        console.error(
          `deployd: the shared cache at ${target.host}:${target.port} does not answer (${error.code || error.message}): ` +
            "each host goes on with its own",
        );
      }
    }

    /* It answers, and takes nothing: it is full, or only a copy of another. That is said once for each reason. */
    function refuse(reason) {
      if (refused === reason) return;
      refused = reason;
      console.error(
        `deployd: the shared cache at ${target.host}:${target.port} ` +
          (reason ? `refuses what it is told (${reason}): each host goes on with its own` : "takes what it is told again"),
      );
    }

    function open() {
      const opened = require(where.protocol === "rediss:" ? "node:tls" : "node:net").connect(target);
      socket = opened;
      opened.unref();
      opened.setNoDelay(true);
      opened.on("data", (data) => socket === opened && read(data));
      opened.on("error", (error) => socket === opened && fail(error));
      opened.on("close", () => socket === opened && fail(new Error("closed")));
      ready = (async () => {
        if (password) await send(user ? ["AUTH", user, password] : ["AUTH", password]);
        if (database) await send(["SELECT", String(database)]);
        await readClock();
        if (down) console.error("deployd: the shared cache answers again");
        down = false;
        for (const one of whenBack) one();
      })();
      ready.catch((error) => socket === opened && fail(error));
      return ready;
    }

    async function readClock() {
      const before = Date.now();
      const [seconds, micros] = await send(["TIME"]);
      clockAt = Date.now();
      ahead = Number(seconds) * 1000 + Number(micros) / 1000 - (before + clockAt) / 2;
    }

    function send(words) {
      return new Promise((resolve, reject) => {
        if (!socket) return reject(new Error("not connected"));
        const pieces = [`*${words.length}\r\n`];
        for (const word of words) pieces.push(`$${Buffer.byteLength(word)}\r\n${word}\r\n`);
        const one = { resolve, reject };
        const timer = setTimeout(() => waiting.includes(one) && fail(new Error("no answer in time")), ANSWER_MS);
        timer.unref();
        one.done = () => clearTimeout(timer);
        waiting.push(one);
        socket.write(pieces.join(""));
      });
    }

    function read(data) {
      input = input.length ? Buffer.concat([input, data]) : data;
      let at = 0;
      for (;;) {
        const found = parse(at);
        if (found === null) break;
        at = found.next;
        const one = waiting.shift();
        if (!one) return fail(new Error("an answer that nobody asked for"));
        one.done();
        if (found.error) one.reject(Object.assign(new Error(found.error), { refused: true }));
        else one.resolve(found.value);
      }
      input = input.subarray(at);
    }

    /* One value of the protocol from `at` on, or null when it is not all there. */
    function parse(at) {
      const end = input.indexOf("\r\n", at);
      if (end < 0) return null;
      const rest = input.toString("latin1", at + 1, end);
      const next = end + 2;
      const size = Number(rest);
      switch (input[at]) {
        case 0x2b: // +
        case 0x3a: // :
          return { value: rest, next };
        case 0x2d: // -
          return { error: rest.split(" ", 1)[0], next }; // never more: some name what they were sent
        case 0x24: // $
          if (size < 0) return { value: null, next };
          if (input.length < next + size + 2) return null;
          return { value: input.toString("utf8", next, next + size), next: next + size + 2 };
        case 0x2a: {
          const values = [];
          let here = next;
          for (let left = size; left > 0; left--) {
            const one = parse(here);
            if (one === null) return null;
            values.push(one.error ? null : one.value);
            here = one.next;
          }
          return { value: size < 0 ? null : values, next: here };
        }
        default:
          return { error: "PROTOCOL", next };
      }
    }

    return {
      /* The answers to several commands, sent at once; null when Redis does not answer. */
      async ask(...commands) {
        if (!ready && Date.now() < retryAt) return null;
        try {
          await (ready || open());
          if (Date.now() - clockAt > CLOCK_MS) {
            clockAt = Date.now();
            readClock().catch(() => {});
          }
          const answers = await Promise.all(commands.map(send));
          if (refused && ["HSET", "ZADD"].includes(commands[0][0])) refuse("");
          return answers;
        } catch (error) {
          if (socket && error.refused) refuse(error.message);
          return null;
        }
      },
      now: () => Date.now() + ahead,
      toLocal: (time) => time - ahead,
      toShared: (time) => time + ahead,
      onBack: (told) => whenBack.push(told),
    };
  }

  // ------------------------------------------------------------------------------------------------- tags

  const tags = new Map(); // tag -> {expired, stale}, times of Redis's clock
  const known = new Map(); // a member of the list -> its time
  const learners = new Set(); // (tags, durations, time here) -> the caches of Next.js that must know
  let seen = 0;
  let untold = [];
  let tellAt = 0;
  redis.onBack(tellAgain);

  function tellAgain() {
    if (!untold.length || Date.now() < tellAt) return;
    tellAt = Date.now() + AGAIN_MS;
    const told = untold;
    untold = [];
    for (const [found, durations] of told) tellTags(found, durations);
  }

  function note(tag, durations, time) {
    const one = tags.get(tag) || {};
    if (durations) {
      one.stale = Math.max(one.stale || 0, time);
      if (durations.expire !== undefined) one.expired = time + durations.expire * 1000;
    } else {
      one.expired = Math.max(one.expired || 0, time);
    }
    tags.set(tag, one);
  }

  /* Tell the other hosts, before whoever revalidated is answered. */
  async function tellTags(found, durations) {
    const time = redis.now();
    const members = found.map((tag) => JSON.stringify([tag, durations || null]));
    found.forEach((tag, at) => {
      note(tag, durations, time);
      known.set(members[at], time);
    });
    const words = ["ZADD", `${prefix}:tags`, ...members.flatMap((one) => [String(time), one])];
    const told = await redis.ask(words, ["EXPIRE", `${prefix}:tags`, String(KEPT_SECONDS)]);
    if (!told) untold.push([found, durations]);
  }

  function sinceWhen() {
    return ["ZRANGEBYSCORE", `${prefix}:tags`, String(Math.max(0, seen - OVERLAP_MS)), "+inf", "WITHSCORES"];
  }

  /* Take in what others revalidated: `list` is members and times in turn. */
  async function learn(list) {
    for (let at = 0; at < list.length; at += 2) {
      const time = Number(list[at + 1]);
      seen = Math.max(seen, time);
      if ((known.get(list[at]) || 0) >= time) continue;
      known.set(list[at], time);
      const [tag, durations] = JSON.parse(list[at]);
      note(tag, durations, time);
      for (const one of learners) await one([tag], durations || undefined, redis.toLocal(time));
    }
  }

  function isExpired(found, time) {
    const now = redis.now();
    return found.some((tag) => {
      const { expired } = tags.get(tag) || {};
      return expired !== undefined && expired <= now && expired > time;
    });
  }

  // ------------------------------------------------------------------------------------------------- things kept

  const made = new Map(); // key -> {time, entry, size}: what others made, parsed; the oldest first
  const own = new Map(); // key -> the time under which this process put it there
  let bytes = 0;

  const pack = (value) =>
    JSON.stringify(value, function (key, packed) {
      const raw = this[key];
      if (Buffer.isBuffer(raw) || raw instanceof Uint8Array) return { $b: Buffer.from(raw).toString("base64") };
      if (raw instanceof Map) return { $m: [...raw] };
      return packed;
    });
  const unpack = (text) =>
    JSON.parse(text, (_, value) => {
      if (value && typeof value === "object") {
        if (typeof value.$b === "string") return Buffer.from(value.$b, "base64");
        if (Array.isArray(value.$m)) return new Map(value.$m);
      }
      return value;
    });

  async function put(key, entry) {
    const time = Math.round(redis.now());
    own.set(key, time);
    if (own.size > 50_000) own.delete(own.keys().next().value);
    const name = `${prefix}:e:${key}`;
    await redis.ask(
      ["HSET", name, "time", String(time), "entry", pack(entry)],
      ["EXPIRE", name, String(KEPT_SECONDS)],
    );
  }

  /* The time of what is kept under a key, and what was revalidated since the last look. 0: nothing; null: no Redis. */
  async function look(key) {
    const answers = await redis.ask(["HGET", `${prefix}:e:${key}`, "time"], sinceWhen());
    if (!answers) return null;
    await learn(answers[1]);
    tellAgain();
    return Number(answers[0]) || 0;
  }

  async function take(key, time) {
    const kept = made.get(key);
    if (kept && kept.time === time) return kept.entry;
    const answers = await redis.ask(["HGET", `${prefix}:e:${key}`, "entry"]);
    if (!answers || answers[0] === null) return undefined;
    const entry = unpack(answers[0]);
    if (kept) bytes -= kept.size;
    made.delete(key);
    made.set(key, { time, entry, size: answers[0].length });
    bytes += answers[0].length;
    for (const [old, one] of made) {
      if (bytes <= KEPT_BYTES) break;
      made.delete(old);
      bytes -= one.size;
    }
    return entry;
  }

  // ------------------------------------------------------------------------------------------------- Next.js

  function tagsOf(entry, context) {
    const header = entry.value && entry.value.headers && entry.value.headers[TAGS_HEADER];
    const wanted = [...(context.tags || []), ...(context.softTags || []), ...((entry.value && entry.value.tags) || [])];
    return typeof header === "string" ? [...wanted, ...header.split(",")] : wanted;
  }

  function sharing(FileSystemCache) {
    return class SharedCache extends FileSystemCache {
      constructor(...args) {
        super(...args);
        SharedCache.learner ||= (found, durations, at) => relearn(() => super.revalidateTag(found, durations), found, at);
        learners.add(SharedCache.learner);
      }

      async get(key, context = {}, ...rest) {
        const time = await look(key);
        const mine = await super.get(key, context, ...rest);
        if (!time || (mine && own.get(key) === time)) return mine;
        if (mine && redis.toShared(mine.lastModified || 0) >= time) return mine;
        const entry = await take(key, time);
        if (!entry || isExpired(tagsOf(entry, context), time)) return mine;
        return { ...entry, lastModified: redis.toLocal(time) };
      }

      async set(key, value, context = {}, ...rest) {
        await super.set(key, value, context, ...rest);
        const kept = value && value.kind === "FETCH" && context.tags ? { ...value, tags: context.tags } : value;
        await put(key, { value: kept, cacheControl: context.cacheControl });
      }

      async revalidateTag(found, durations, ...rest) {
        await super.revalidateTag(found, durations, ...rest);
        const list = typeof found === "string" ? [found] : [...(found || [])];
        if (list.length) await tellTags(list, durations);
      }
    };
  }

  /* Next.js notes a tag with the time of now; what another host made anew since is not to be made a second time. */
  async function relearn(revalidate, found, at) {
    const manifest = nextModule("next/dist/server/lib/incremental-cache/tags-manifest.external.js")?.tagsManifest;
    const before = found.map((tag) => manifest?.get(tag));
    const now = Date.now();
    await revalidate();
    found.forEach((tag, index) => {
      const one = manifest?.get(tag);
      if (typeof one === "number" || (manifest && one === undefined)) {
        manifest.set(tag, Math.max(at, typeof before[index] === "number" ? before[index] : 0));
      } else if (one) {
        const shifted = { ...one };
        for (const name of ["stale", "expired"]) {
          if (shifted[name] !== undefined && shifted[name] !== before[index]?.[name]) shifted[name] += at - now;
        }
        manifest.set(tag, shifted);
      }
    });
  }

  function nextModule(name) {
    try {
      return require(require.resolve(name, { paths: [path.dirname(main), process.cwd()] }));
    } catch {
      return undefined;
    }
  }

  /* 'use cache' of Next.js 16: the same, with the cache that it keeps in memory. */
  function directives() {
    const create = nextModule("next/dist/server/lib/cache-handlers/default.js")?.createDefaultCacheHandler;
    if (!create) return undefined;
    const inner = create(50 << 20);
    return {
      async get(key, softTags) {
        const name = `use:${key}`;
        const time = await look(name);
        const mine = await inner.get(key, softTags);
        if (!time || (mine && (own.get(name) === time || redis.toShared(mine.timestamp) >= time))) return mine;
        if (isExpired(softTags || [], time)) return mine;
        const entry = await take(name, time);
        if (!entry) return mine;
        const { body, timestamp, ...rest } = entry;
        const value = new ReadableStream({
          start(controller) {
            controller.enqueue(new Uint8Array(body));
            controller.close();
          },
        });
        await inner.set(key, Promise.resolve({ ...rest, timestamp: redis.toLocal(timestamp), value }));
        return inner.get(key, softTags);
      },
      async set(key, pending) {
        const entry = await pending;
        const [here, there] = entry.value.tee();
        await inner.set(key, Promise.resolve({ ...entry, value: here }));
        const pieces = [];
        try {
          for await (const piece of there) pieces.push(Buffer.from(piece));
        } catch {
          return; // what could not be made is not shared
        }
        const { value: _, ...rest } = entry;
        if (entry.expire === 0) return;
        await put(`use:${key}`, { ...rest, timestamp: redis.toShared(entry.timestamp), body: Buffer.concat(pieces) });
      },
      async refreshTags() {
        const answers = await redis.ask(sinceWhen());
        if (answers) await learn(answers[0]);
        if (answers) tellAgain();
      },
      getExpiration: (found) => inner.getExpiration(found),
      async updateTags(found, durations) {
        await inner.updateTags(found, durations);
        if (found.length) await tellTags([...found], durations);
      },
      learn: (found, durations, at) => relearn(() => inner.updateTags(found, durations), found, at),
    };
  }

  const OWN_CACHE = "next/dist/server/lib/incremental-cache/file-system-cache";
  let shared; // made once, when Next.js has set itself up
  let ofDirectives;

  function forDirectives() {
    if (ofDirectives === undefined) {
      ofDirectives = directives() || null;
      if (ofDirectives) learners.add(ofDirectives.learn);
    }
    return ofDirectives || undefined;
  }

  function forResponses() {
    const found = shared ? null : nextModule(`${OWN_CACHE}.js`);
    if (found) shared = sharing(found.default);
    return shared;
  }

  const major = Number(nextModule("next/package.json")?.version?.split(".")[0]) || 0;
  if (major >= 15) {
    globalThis[Symbol.for("@next/cache-handlers")] = {
      get FetchCache() {
        return forResponses();
      },
      get DefaultCache() {
        return major >= 16 ? forDirectives() : undefined;
      },
      get RemoteCache() {
        return major >= 16 ? forDirectives() : undefined;
      },
    };
  } else if (major) {
    const load = Module._load;
    const wrapped = new WeakMap();
    Module._load = function (request, ...rest) {
      const found = load.call(this, request, ...rest);
      if (typeof request !== "string" || !/(?:^|\/)file-system-cache(?:\.js)?$/.test(request) || !found?.default) return found;
      if (!wrapped.has(found)) wrapped.set(found, { __esModule: true, default: sharing(found.default) });
      return wrapped.get(found);
    };
  }
}
