/*
 * Preloaded (`node --require`) into every release's server. It gives the server the listening socket that systemd
 * holds, and makes stopping harmless:
 *
 *   listen   The first listen() on $PORT (or, for a server with a port of its own, on any port) takes descriptor 3. When
 *            another port came first (metrics, for example) and $PORT comes later, the later one has it from then on.
 *   others   A further port that is taken is tried again each second: the release before has it until it stops.
 *   SIGTERM  The listening descriptor is closed, nothing else: new connections wait in systemd's queue. What is under
 *            way is answered with `Connection: close`. Idle connections are left to the web server, which closes them
 *            first (a server that closes them loses the POST that is just on its way). Only when no connection is
 *            left do the app's own SIGTERM handlers run.
 *   start    Until visitors reach it, a release yields the processor to the one that serves them: starting takes a core
 *            for a moment. It yields nearly all at first, less after three seconds and nothing after ten: a busy host
 *            must not keep it from ever starting. Its first request as the current release ends that.
 *   main     The unit starts a link to the entry: argv[1] is the file itself, which modules compare with their own place.
 *   own      A connection of the server's own to localhost and that port reaches the server itself: nothing listens on TCP,
 *            and apps (and the images of Next.js 13) ask themselves there.
 *   cluster  The workers of a server that forks get their connections from it: they are watched too, and SIGTERM waits
 *            for them. Such a release does not exit when idle.
 *   idle     A release that is not current and has had no connection for $DEPLOYD_IDLE seconds drains and exits with
 *            75; its socket stays, and the next request starts it again.
 *
 * Without LISTEN_FDS (a person runs the server by hand) it does nothing.
 */
"use strict";

const fs = require("node:fs");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");

const FIRST_FD = 3;
const KEEP_ALIVE_MS = 75_000; // far longer than the web server's 5 s: it must be the one who closes
const IDLE_EXIT = 75;
// Until so many milliseconds after the start. Nice 10 has a tenth of the weight of nice 0, nice 5 a third.
const YIELDING = [
  { niceness: 10, until: 3_000 },
  { niceness: 5, until: 10_000 },
  { niceness: 0, until: Infinity },
];
const RETRY_MS = 110; // the kernel takes one change of any group in 0.1 s from a user
const QUIET_MS = 10_000; // a drain whose peer does not close its idle connections ends them after this long

const DRAIN = "NODE_DEPLOYD_DRAIN"; // messages whose name begins so are seen by no handler of the app's
const DRAINED = "NODE_DEPLOYD_DRAINED";

const inherited = Number(process.env.LISTEN_FDS) >= 1 && Number(process.env.LISTEN_PID) === process.pid;
delete process.env.LISTEN_FDS;
delete process.env.LISTEN_PID;
delete process.env.LISTEN_FDNAMES;

if (inherited) {
  nameMain();
  install();
} else if (process.send && process.env.DEPLOYD_RELEASE && require("node:cluster").isWorker) install(true);

// A module that asks whether it is the main program compares argv[1] with its own place, which is no link's.
function nameMain() {
  try {
    process.argv[1] = fs.realpathSync(process.argv[1]);
  } catch {
    // no file was named
  }
}

function install(worker = false) {
  const wanted = process.env.DEPLOYD_PORT || process.env.PORT;
  const open = new Set();
  const answering = new Set();
  const busy = new Set(); // workers that have not drained yet
  let server = null;
  let taken = null; // which port the server asked for, and how
  let handle = null;
  let draining = false;
  let released = false; // the app's own SIGTERM handlers may run
  let lastSeen = Date.now();
  let whenDrained = null;
  let idling = false; // whether the timer of idle exit runs
  let yielding = !isCurrent();
  if (yielding) yieldUntil(() => !yielding);

  const listen = net.Server.prototype.listen;
  net.Server.prototype.listen = function (...args) {
    const port = portOf(args);
    const callback = args.findLast((argument) => typeof argument === "function");
    const visitors = port !== null && port === Number(wanted);
    if (server !== null && visitors && taken.port !== port && !worker && handOn(this, port, callback)) return this;
    if (server !== null || port === null || (!visitors && !isFirstOwnPort(port))) {
      return port > 0 && !worker ? listenPatiently(this, args) : listen.apply(this, args);
    }
    server = this;
    taken = { port, args };
    this.once("listening", () => {
      if (server === this) handle = this._handle; // a server that its workers share loses it then
    });
    watch(this, port);
    if (worker || workers().length === 0) answerSelf(this, port);
    if (worker) return listen.apply(this, args);
    return listen.call(this, { fd: FIRST_FD }, callback);
  };

  /* Give the socket from the server that came first to the one on $PORT; false when this Node.js does not allow it. */
  function handOn(to, port, callback) {
    const first = server;
    const given = first._handle;
    const owner = given && Object.getOwnPropertySymbols(given).find((one) => one.description === "owner_symbol");
    if (!owner || draining || to._handle) return false;
    first._handle = null;
    delete first.address;
    to._handle = given;
    given[owner] = to;
    handle = given;
    server = to;
    const { args } = taken;
    taken = { port, args: [] };
    watch(to, port);
    answerSelf(to, port);
    if (callback) to.once("listening", callback);
    process.nextTick(() => to.emit("listening"));
    listenPatiently(first, args.filter((argument) => typeof argument !== "function")); // it was told that it listens
    return true;
  }

  function listenPatiently(target, args) {
    const emit = target.emit;
    let told = false;
    target.emit = function (event, error, ...rest) {
      if (event !== "error" || !error || error.code !== "EADDRINUSE") return emit.call(this, event, error, ...rest);
      if (!told) console.warn(`deployd: port ${error.port} is taken, by the release before perhaps: it is tried again`);
      told = true;
      const again = args.filter((argument) => typeof argument !== "function");
      setTimeout(() => draining || target.listening || listen.apply(target, again), 1000).unref();
      return true;
    };
    return listen.apply(target, args);
  }

  function workers() {
    return Object.values(require("node:cluster").workers || {});
  }

  // Port 0 is somebody's private channel (Next.js 13 has one), never what visitors ask.
  function isFirstOwnPort(port) {
    return port > 0;
  }

  function watch(target, port) {
    target.address = () => ({ address: "127.0.0.1", family: "IPv4", port });
    if (target.keepAliveTimeout !== undefined && target.keepAliveTimeout < KEEP_ALIVE_MS) {
      target.keepAliveTimeout = KEEP_ALIVE_MS;
    }
    if (Number(process.env.DEPLOYD_INSTANCES) > 1 && target.maxRequestsPerSocket === 0) {
      target.maxRequestsPerSocket = 100; // else pooled connections stay with the instance that was there first
    }
    target.prependListener("connection", (socket) => {
      if (socket.deployd === "own" || target !== server) return; // part of a request that is counted; not for visitors
      lastSeen = Date.now();
      open.add(socket);
      // A unix socket has no address; code that reads one finds the web server's.
      Object.defineProperty(socket, "remoteAddress", { value: "127.0.0.1", configurable: true });
      Object.defineProperty(socket, "remoteFamily", { value: "IPv4", configurable: true });
      socket.once("close", () => {
        lastSeen = Date.now();
        open.delete(socket);
        if (draining && open.size === 0 && busy.size === 0) drained();
      });
    });
    target.prependListener("request", (_request, response) => {
      if (target !== server) return;
      lastSeen = Date.now();
      if (yielding && isCurrent()) yielding = !setNiceness(0);
      if (draining) response.shouldKeepAlive = false;
      answering.add(response);
      response.once("close", () => {
        lastSeen = Date.now();
        answering.delete(response);
      });
    });
    const seconds = Number(process.env.DEPLOYD_IDLE);
    if (seconds > 0 && !worker && !idling && !(Number(process.env.DEPLOYD_INSTANCES) > 1)) {
      idling = true;
      setInterval(() => exitWhenIdle(seconds * 1000), Math.min(seconds * 250, 15_000)).unref();
    }
  }

  function answerSelf(target, port) {
    // /tmp is the unit's own: nobody else reaches it there
    const own = path.join(os.tmpdir(), `deployd-own-${process.pid}-${port}.sock`);
    const inner = net.createServer((socket) => {
      socket.deployd = "own";
      Object.defineProperty(socket, "remoteAddress", { value: "127.0.0.1", configurable: true });
      target.emit("connection", socket);
    });
    inner.on("error", () => {}); // a /tmp that cannot be written: then it asks in vain, as before
    const remove = () => {
      try {
        fs.rmSync(own, { force: true });
      } catch {
        // not ours to remove: listening fails too
      }
    };
    remove(); // of the one before, which had the same number
    listen.call(inner, { path: own, exclusive: true });
    inner.unref();
    process.once("exit", remove);
    const names = new Set(["localhost", "127.0.0.1", "::1", "0.0.0.0", "::", process.env.HOSTNAME, undefined, null]);
    const connect = net.Socket.prototype.connect;
    net.Socket.prototype.connect = function (...args) {
      const [first] = args;
      const asked = Array.isArray(first) ? first[0] : typeof first === "object" ? first : { port: first, host: args[1] };
      if (!asked || asked.path || Number(asked.port) !== port || !names.has(asked.host) || !inner.listening) {
        return connect.apply(this, args);
      }
      const callback = Array.isArray(first) ? first[1] : args.findLast((argument) => typeof argument === "function");
      return connect.call(this, { path: own }, callback);
    };
  }

  function exitWhenIdle(limit) {
    if (draining || open.size > 0 || workers().length > 0 || Date.now() - lastSeen < limit || isCurrent()) return;
    drain(() => process.exit(IDLE_EXIT));
  }

  function isCurrent() {
    try {
      return fs.readFileSync(process.env.DEPLOYD_CURRENT, "utf8").trim() === process.env.DEPLOYD_RELEASE;
    } catch {
      return true; // not known: stay
    }
  }

  function drain(then) {
    whenDrained = then;
    if (draining) return;
    draining = true;
    lastSeen = Date.now();
    for (const response of answering) {
      if (!response.headersSent) response.shouldKeepAlive = false;
    }
    if (handle && !worker) handle.close(); // what a worker has, its primary gave it
    if (!worker) workers().forEach(drainWorker);
    if (server) {
      // The app may close its server itself, now or in its handler: the descriptor is closed already, and idle
      // connections are not its business.
      server.close = function (callback) {
        if (typeof callback === "function") {
          if (open.size === 0) setImmediate(callback);
          else this.once("deployd:drained", () => callback());
        }
        return this;
      };
    }
    if (open.size === 0 && busy.size === 0) setImmediate(drained);
    const timer = setInterval(() => {
      if (open.size === 0 && busy.size === 0) {
        clearInterval(timer);
        drained();
      } else if (open.size > 0 && answering.size === 0 && Date.now() - lastSeen > QUIET_MS && server.closeIdleConnections) {
        server.closeIdleConnections();
      }
    }, 500);
  }

  function drainWorker(one) {
    const done = () => busy.delete(one);
    busy.add(one);
    one.once("exit", done);
    one.process.on("internalMessage", (message) => message.cmd === DRAINED && done());
    try {
      one.process.send({ cmd: DRAIN }, (error) => error && done());
    } catch {
      done(); // it is gone
    }
  }

  if (worker) {
    process.on("internalMessage", (message) => {
      if (message.cmd === DRAIN) drain(() => process.send({ cmd: DRAINED }));
    });
  }

  function drained() {
    const then = whenDrained;
    whenDrained = null;
    if (then === null) return;
    if (server) server.emit("deployd:drained");
    then();
  }

  const emit = process.emit;
  const sentinel = () => {}; // without a listener the signal would end the process
  process.emit = function (event, ...args) {
    if (event !== "SIGTERM" || released) return emit.call(this, event, ...args);
    if (draining && whenDrained !== null) {
      // A second SIGTERM: somebody is in a hurry.
      released = true;
      return handOver(args);
    }
    drain(() => {
      released = true;
      handOver(args);
    });
    return true;
  };
  process.on("SIGTERM", sentinel); // after emit is replaced: Node.js binds it when the first listener comes

  function handOver(args) {
    process.removeListener("SIGTERM", sentinel);
    if (process.listenerCount("SIGTERM") === 0) process.exit(0);
    return emit.call(process, "SIGTERM", ...args);
  }
}

/*
 * Yields the processor as YIELDING says until `ended`. What the kernel does not take at once, because another group was
 * changed just before, is tried again.
 */
function yieldUntil(ended) {
  const since = Date.now();
  let set = setNiceness(YIELDING[0].niceness) ? YIELDING[0] : null;
  const again = setInterval(() => {
    if (ended()) return clearInterval(again);
    const passed = Date.now() - since;
    const wanted = YIELDING.find((step) => passed < step.until);
    if (set !== wanted && setNiceness(wanted.niceness)) set = wanted;
    if (set === YIELDING.at(-1)) clearInterval(again);
  }, RETRY_MS).unref();
}

/*
 * Sets the nice value of this process's scheduling group, and of its threads where the unit allows them to come back to
 * 0 (LimitNICE; a group always may). False when it must be tried again: the kernel takes one change of a group in 0.1 s.
 */
function setNiceness(value) {
  let done = true;
  try {
    fs.writeFileSync("/proc/self/autogroup", String(value));
  } catch (error) {
    done = error.code !== "EAGAIN"; // this kernel has no such groups: then the threads alone count
  }
  for (const thread of mayGoBack() ? fs.readdirSync("/proc/self/task") : []) {
    try {
      os.setPriority(Number(thread), value);
    } catch {
      // it has ended
    }
  }
  return done;
}

function mayGoBack() {
  try {
    return Number(/^Max nice priority +(\d+)/m.exec(fs.readFileSync("/proc/self/limits", "utf8"))[1]) >= 20;
  } catch {
    return false;
  }
}

/* The TCP port that these listen() arguments ask for, or null for a path, a descriptor or a handle. */
function portOf(args) {
  const [first] = args;
  if (typeof first === "object" && first !== null) {
    // as Node.js reads it: a port comes before a path, which may be there and empty (SvelteKit's adapter)
    const isHandle = typeof first.fd === "number" || first.handle || first._handle || first instanceof net.Server;
    if (isHandle || !("port" in first)) return null;
    return first.port == null ? 0 : Number(first.port);
  }
  if (first === undefined || typeof first === "function") return 0;
  const port = Number(first);
  return Number.isInteger(port) ? port : null;
}
