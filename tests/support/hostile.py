"""Builds that do what a build must not: each is the text of a make.js."""

from __future__ import annotations

# Tries what a stolen package would try on the machine that holds the keys, and builds a page of what came of it.
REACHES = r"""
const fs = require("fs"), net = require("net"), { execSync } = require("child_process");
const told = { uid: process.getuid(), status: fs.readFileSync("/proc/self/status", "utf8").match(/^(Uid|Groups|CapEff|NoNewPrivs):.*/mg) };
const tell = (name, what) => { try { told[name] = String(what()); } catch (error) { told[name] = "no: " + (error.code || error.message).split("\n")[0]; } };
const state = "/var/lib/deployd";
for (const file of ["key", "deployd.sqlite", "ssh/id_ed25519", "lock"]) tell("read " + file, () => "READ " + fs.readFileSync(`${state}/${file}`).length);
for (const file of ["/etc/deployd/deployd.toml", "/etc/deployd/tls.key", "/etc/shadow", "/proc/DAEMON/environ", "/proc/DAEMON/root/etc/shadow"]) tell("read " + file, () => "READ " + fs.readFileSync(file).length);
for (const folder of [state, `${state}/checkouts`, `${state}/caches`, `${state}/artifacts`, "/run", "/root", "/home/bob", "/srv/git", "/tmp"]) tell("list " + folder, () => fs.readdirSync(folder).join());
for (const file of [`${state}/x`, "/etc/x", "/usr/bin/x", "/usr/local/lib/deployd/deployd_builds.py"]) tell("write " + file, () => { fs.writeFileSync(file, "x"); return "WROTE"; });
tell("signal", () => { process.kill(DAEMON, 0); return "REACHED"; });
tell("trace", () => execSync("python3 -c 'import ctypes; print(ctypes.CDLL(None).ptrace(16, DAEMON, 0, 0))'").toString().trim());
tell("names", () => fs.readdirSync("/proc").filter(x => /^\d+$/.test(x)).map(pid => { try { return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8"); } catch { return ""; } }).join());
tell("mount", () => execSync("mount -t tmpfs x /mnt 2>&1; unshare -Ur id -u 2>&1; sudo -n id 2>&1; true").toString().replace(/\n/g, " "));
const sockets = ["/run/deployd-control/deployd.sock", `${state}/deployd.sock`, "/run/deployd-build.sock", "/run/dbus/system_bus_socket", "/run/systemd/private"];
Promise.all(sockets.map(path => new Promise(done => {
  const socket = net.connect(path, () => { told["socket " + path] = "REACHED"; socket.destroy(); done(); });
  socket.on("error", error => { told["socket " + path] = "no: " + error.code; done(); });
}))).then(() => { fs.mkdirSync("dist"); fs.writeFileSync("dist/index.html", JSON.stringify(told)); });
"""

# All at once: forks without an end, a process that turns for nothing on each core, and a gigabyte of output.
NOISY = r"""
const { spawn } = require("child_process");
const sh = (script, out) => spawn("sh", ["-c", script], { stdio: ["ignore", out, "ignore"] });
process.on("uncaughtException", () => 0);
for (let core = 0; core < 4; core++) sh("while :; do :; done", "ignore");
sh("yes 'a line that says nothing, again and again, as long as there is somebody who reads' | head -c 1000000000", "inherit");
setTimeout(() => sh("bomb() { bomb | bomb & sleep 4713; }; bomb", "ignore"), 500);
setInterval(() => 0, 1000);
"""

# Takes memory, a bit more in each of its processes, until it is ended.
GREEDY = r"""
const { fork } = require("child_process");
const held = [];
if (!process.argv[2]) for (let one = 0; one < 4; one++) fork(__filename, ["more"]);
setInterval(() => held.push(Buffer.alloc(8 << 20, 1)), 20);
"""

# Leaves processes behind that left its process group.
SLEEPERS = """\
const { spawn } = require("child_process");
spawn("sleep", ["4711"], { detached: true, stdio: "ignore" }).unref();
spawn("sleep", ["4712"]);
setInterval(() => 0, 1000);
"""
