"""What an app's packages and build can reach: a hostile postinstall and a hostile build, with real npm, for real."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from deployd import process, sandbox
from deployd.domain.events import Event
from deployd.domain.ids import BuildId
from deployd.domain.options import Build
from deployd.domain.secret import Secret
from deployd.domain.stages import BuildPlan, SourceTree
from deployd.errors import BuildError, CancelledError, SandboxError
from deployd.stages import build
from deployd.stages.build import cache, runtime

CANARY = "canary-e7b1c0de-value"

# Reads and writes whatever a deployd and its machine have, and says what came of each.
HOSTILE = r"""
const fs = require('fs'), os = require('os'), path = require('path'), { execSync } = require('child_process');
const told = {};
const tell = (name, what) => { try { told[name] = what(); } catch (error) { told[name] = 'no: ' + (error.code || error.message); } };
const targets = JSON.parse(fs.readFileSync(path.join(__dirname, 'targets.json')));
for (const [name, file] of Object.entries(targets.read)) tell('read ' + name, () => 'READ ' + fs.readFileSync(file, 'latin1').slice(0, 4000));
for (const [name, file] of Object.entries(targets.list)) tell('list ' + name, () => 'LISTED ' + fs.readdirSync(file).join());
for (const [name, file] of Object.entries(targets.write)) tell('write ' + name, () => { fs.writeFileSync(file, 'x'); return 'WROTE'; });
tell('processes', () => fs.readdirSync('/proc').filter(x => /^\d+$/.test(x)).map(pid => {
  try { return fs.readFileSync(`/proc/${pid}/environ`, 'latin1') + fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1'); } catch { return ''; } }).join(' '));
tell('kill', () => { process.kill(targets.daemon, 'SIGKILL'); return 'KILLED'; });
tell('user', () => os.userInfo().username + ' ' + process.getuid());
tell('sudo', () => execSync('sudo -n id 2>&1 || su -c id 2>&1 || true').toString());
tell('search', () => execSync(`grep -rls ${targets.canary} / --exclude-dir=proc --exclude-dir=sys --exclude-dir=usr 2>/dev/null || true`).toString());
tell('overwrite', () => { fs.writeFileSync(targets.overwrite, 'x'); return 'its own /tmp, or nowhere'; });
fs.writeFileSync(path.join(__dirname, targets.out), JSON.stringify(told));
execSync('(setsid sleep 4242 >/dev/null 2>&1 </dev/null &) ; true');
"""


class Workshop:
    """A state folder as deployd's own, with another app's caches beside, and one small app."""

    def __init__(self, folder: Path) -> None:
        os.umask(0o077)
        self.state, self.app = folder / "state", folder / "state" / "checkouts" / "shop-production"
        self.caches = self.state / "caches" / "shop"
        for name in ("key", "deployd.sqlite", "ssh/id_ed25519", "caches/other/production/kept/main/x", "artifacts/objects/a",
                     "caches/shop/preview/kept/x"):  # fmt: skip
            (self.state / name).parent.mkdir(parents=True, exist_ok=True)
            (self.state / name).write_text(CANARY)
            (self.state / name).chmod(0o644)  # it is the sandbox that keeps it away, not only the mode
        self.events: list[tuple[Event, dict[str, Any]]] = []
        self.log = self.state / "logs" / "build.log"

    def write(self, **files: str) -> None:
        shutil.rmtree(self.app, ignore_errors=True)
        for name, text in {
            "package-lock.json": json.dumps({"name": "shop", "lockfileVersion": 3, "packages": {"": {}}}),
            **files,
        }.items():
            (self.app / name).parent.mkdir(parents=True, exist_ok=True)
            (self.app / name).write_text(text)

    def build(
        self,
        command: str,
        *,
        install: tuple[str, ...] = ("npm", "ci"),
        variables: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        source = SourceTree(
            root=str(self.app), app_dir=str(self.app), tree_hash="t", commit=None, branch="main", ref="HEAD",
            subject=None, author=None, dirty=False,
        )  # fmt: skip
        plan = BuildPlan(
            framework="node", framework_version=None, manager="npm", manager_version=None, install=install,
            command=("sh", "-c", command), node="22.23.3", lockfile=str(self.app / "package-lock.json"),
            lockfile_sha256=hashlib.sha256((self.app / "package-lock.json").read_bytes()).hexdigest(), build_id=BuildId("b" + "0" * 20), environment="production", entry="server.js",
        )  # fmt: skip
        node = runtime.fetch("22.23.3", runtimes=self.state / "runtimes")
        output = build.build(
            source, plan, options=more.pop("options", Build()), caches=self.caches, log=self.log, node=Path(node.path),
            variables={name: Secret(value) for name, value in (variables or {}).items()}, hidden=(self.state,),
            report=lambda event, /, **fields: self.events.append((event, json.loads(json.dumps(fields)))), **more,
        )  # fmt: skip
        build.keep_install(output, caches=self.caches)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    before = os.umask(0o022)
    try:
        yield Workshop(tmp_path)
    finally:
        os.umask(before)


def test_a_package_is_compiled_with_the_headers_of_its_own_node(workshop: Workshop) -> None:
    """Also where deployd's umask (077, as soon as it has a state folder) hides from builds what it unpacks."""
    os.umask(0o077)
    workshop.write(**{"package.json": "{}"})
    compiled = "echo '#include <node_api.h>' | cc -E -I $npm_config_nodedir/include/node -o /dev/null -"
    workshop.build("echo > server.js", install=("sh", "-c", f"ls $npm_config_nodedir/include/node/cppgc && {compiled}"))


def left(command: str) -> bool:
    for _ in range(500):  # they end one by one
        words = command.replace(" ", "\0").encode()
        if not any(_starts(entry, words) for entry in Path("/proc").glob("[0-9]*/cmdline")):
            return False
        time.sleep(0.02)
    return True


def _starts(entry: Path, words: bytes) -> bool:
    try:
        return entry.read_bytes().startswith(words)
    except OSError:
        return False


def test_a_hostile_postinstall_and_a_hostile_build_reach_nothing(workshop: Workshop) -> None:
    """Neither deployd's state, nor another app's or environment's caches, nor any process, home, key or socket."""
    daemon = process.spawn(["sleep", "600"], env={"DEPLOYD_TOKEN": CANARY}, stdout=None, stderr=None)
    state = workshop.state
    targets = {
        "read": {
            "the key": str(state / "key"), "the database": str(state / "deployd.sqlite"),
            "the ssh key": str(state / "ssh/id_ed25519"), "another app's cache": str(state / "caches/other/production/kept/main/x"),
            "another environment's cache": str(state / "caches/shop/preview/kept/x"), "an artifact": str(state / "artifacts/objects/a"),
            "by the checkout": "../../key", "the daemon's variables": f"/proc/{daemon.pid}/environ",
            "the parent's variables": f"/proc/{os.getpid()}/environ", "by its root": f"/proc/{daemon.pid}/root{state}/key",
            "the init's root": f"/proc/1/root{state}/key", "passwords": "/etc/shadow",
        },
        "list": {"state": str(state), "caches": str(state / "caches"), "the machine's home": "/root", "homes": "/home/other",
                 "sockets": "/run", "var": "/var/lib", "work": str(Path(__file__).parents[2])},
        "write": {"node": str(state / "runtimes/node-22.23.3-linux-x64-glibc/bin/node"), "etc": "/etc/cron.d/x",
                  "usr": "/usr/local/bin/npm", "opt": "/opt/x", "a kept record": str(workshop.caches / "production/kept/x")},
        "daemon": daemon.pid, "canary": CANARY, "overwrite": str(state / "key"),
    }  # fmt: skip
    try:
        package = {"name": "shop", "version": "1.0.0", "scripts": {"postinstall": "node hostile/run.js"}}
        workshop.write(**{
            "package.json": json.dumps(package), "hostile/run.js": HOSTILE, "server.js": "",
            "hostile/targets.json": json.dumps(targets | {"out": "postinstall.json", "canary": "canary-" + CANARY[7:]}),
        })  # fmt: skip
        workshop.build("cd hostile && sed -i s/postinstall.json/build.json/ targets.json && node run.js")
        for out in ("postinstall.json", "build.json"):
            told = json.loads((workshop.app / "hostile" / out).read_text())
            assert not {
                name: what for name, what in told.items() if name.startswith("read ") and what.startswith("READ")
            }
            assert not {name: what for name, what in told.items() if name.startswith("write ") and what == "WROTE"}
            lists = {
                name: what
                for name, what in told.items()
                if name.startswith("list ") and what not in ("LISTED ", "no: ENOENT", "no: EACCES")
            }
            assert set(lists) <= {"list state", "list caches"}, lists
            assert set(lists.get("list state", "LISTED").removeprefix("LISTED ").split(",")) <= {
                "checkouts",
                "runtimes",
                "",
            }
            assert CANARY not in told["processes"]
            assert "hostile" in told["processes"]  # it did look
            assert told["kill"].startswith("no: ")
            assert told["search"].split() == [str(workshop.app / "hostile" / "targets.json")]
            assert "uid=0" not in told["sudo"]
            name, uid = told["user"].split()
            assert (name, int(uid)) == (sandbox.ACCOUNT, (sandbox.account() or sandbox.Account(os.getuid(), 0)).uid)
        assert daemon.poll() is None
        assert (state / "key").read_text() == CANARY
        assert not left("sleep 4242")
    finally:
        process.end(daemon)
    # and deployd can use and remove what the build left
    (workshop.app / "hostile" / "run.js").unlink()
    shutil.rmtree(workshop.app)


def test_what_one_build_writes_into_its_home_is_not_there_for_the_next(workshop: Workshop) -> None:
    workshop.write(**{"package.json": '{"name":"shop"}', "server.js": ""})
    workshop.build(
        "echo script-shell=/evil >> ~/.npmrc; echo evil > ~/.profile; echo kept > ~/.npm/kept; touch /tmp/left"
    )
    workshop.write(**{"package.json": '{"name":"shop"}', "server.js": ""})
    workshop.build("cat ~/.npm/kept > found; grep -s evil ~/.npmrc ~/.profile >> found; ls -A /tmp >> found; true")
    found = (workshop.app / "found").read_text().splitlines()
    assert found[0] == "kept"
    assert not [line for line in found if "evil" in line or line == "left"]
    assert not list(workshop.caches.glob("production/.run-*"))


def test_a_secret_that_the_build_prints_is_in_no_log_and_no_event(workshop: Workshop) -> None:
    workshop.write(**{"package.json": '{"name":"shop"}', "server.js": "", "print.js": PRINT})
    with pytest.raises(BuildError) as caught:
        workshop.build("node print.js; false", variables={"BUILD_SECRET": SECRET, "NEXT_PUBLIC_X": "for-everyone"})
    everything = workshop.log.read_text() + json.dumps(workshop.events) + str(caught.value.to_json())
    assert "for-everyone" in everything
    raw = SECRET.encode()
    for form in (SECRET, base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("="), raw.hex(), raw.hex().upper(),
                 base64.b32encode(raw).decode(), "%2Fse%20cret", SECRET[:14], html.escape(SECRET), json.dumps(SECRET)[1:-1]):  # fmt: skip
        assert form not in everything, form
    assert workshop.log.read_text().count("***") >= 8


SECRET = 'ca/na"ry+7f3a91&value'
PRINT = r"""
const value = process.env.BUILD_SECRET, bytes = Buffer.from(value);
console.log(process.env.NEXT_PUBLIC_X);
console.log('plain', value);
console.error('url', encodeURIComponent(value), new URLSearchParams({ value }).toString());
console.log('json', JSON.stringify({ value }), JSON.stringify(JSON.stringify({ value })));
console.log('base64', bytes.toString('base64'), bytes.toString('base64url'), Buffer.from('user:' + value).toString('base64'));
console.log('hex', bytes.toString('hex'), bytes.toString('hex').toUpperCase());
console.log('html', value.replace(/&/g, '&amp;').replace(/"/g, '&quot;'));
console.log('inspect', { value });
process.stdout.write('in two ' + value.slice(0, 9)); setTimeout(() => process.stdout.write(value.slice(9) + '\n'), 300);
setTimeout(() => process.stdout.write('without an end ' + value), 500);
"""


def test_a_cancelled_build_is_gone_within_two_seconds_and_leaves_nothing(workshop: Workshop) -> None:
    workshop.write(**{"package.json": '{"name":"shop"}', "server.js": ""})
    cancel, pressed = threading.Event(), list[float]()

    def press() -> None:
        for _ in range(1500):
            if (workshop.app / "up").exists():
                break
            time.sleep(0.02)
        pressed.append(time.monotonic())
        cancel.set()

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(CancelledError, match="the build was cancelled"):
        workshop.build(
            "(setsid sleep 4343 &); trap '' TERM INT HUP; mkdir -p .parcel-cache; touch up; while :; do sleep 1; done",
            cancel=cancel,
        )
    assert time.monotonic() - pressed[0] < process._GRACE  # it was not waited for until it would have been killed
    assert not left("sleep 4343")
    assert {entry.kind for entry in cache.entries(workshop.caches.parent, app="shop")} <= {"stores", "kept"}
    assert not (workshop.caches / "production" / "kept").exists()
    assert not (workshop.caches / "production" / "installs").exists()


def test_a_build_that_leaves_something_running_ends(workshop: Workshop) -> None:
    workshop.write(**{"package.json": '{"name":"shop"}', "server.js": ""})
    began = time.monotonic()
    workshop.build("(setsid sh -c 'sleep 4444 & sleep 4444' &) ; sleep 4444 & echo done")
    assert time.monotonic() - began < 20
    assert not left("sleep 4444")


def test_a_time_limit_ends_what_forked_twice(workshop: Workshop) -> None:
    workshop.write(**{"package.json": '{"name":"shop"}', "server.js": ""})
    with pytest.raises(BuildError) as caught:
        workshop.build("(setsid sh -c 'setsid sleep 4545 &' &); sleep 4545", options=Build(timeout=2))
    assert caught.value.code == "build-timeout"
    assert not left("sleep 4545")


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk takes root")
def test_a_full_disk_is_told_and_leaves_no_cache(workshop: Workshop, tmp_path: Path) -> None:
    workshop.write(**{"package.json": '{"name":"shop"}', "server.js": ""})
    workshop.build("true")  # the tools are there
    shutil.rmtree(workshop.app)
    workshop.app.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(workshop.app)], check=True)
    try:
        for name in ("package.json", "package-lock.json", "server.js"):
            (workshop.app / name).write_text('{"name":"shop","lockfileVersion":3,"packages":{"":{}}}')
        with pytest.raises(BuildError) as caught:
            workshop.build("head -c 5000000 /dev/zero > big")
        assert "disk" in caught.value.fix
    finally:
        subprocess.run(["umount", str(workshop.app)], check=True)


def test_without_bubblewrap_nothing_runs_unless_that_is_wanted(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.write(**{"package.json": '{"name":"shop"}', "server.js": ""})
    runtime.fetch("22.23.3", runtimes=workshop.state / "runtimes")
    sandbox.check.cache_clear()
    which = shutil.which
    monkeypatch.setattr(sandbox.shutil, "which", lambda name, **more: None if name == "bwrap" else which(name, **more))
    try:
        with pytest.raises(SandboxError) as caught:
            workshop.build("touch ran")
        assert caught.value.code == "sandbox-missing"
        assert "apt-get install bubblewrap" in caught.value.fix
        assert not (workshop.app / "ran").exists()
    finally:
        sandbox.check.cache_clear()
    workshop.build("touch ran", contained=False)
    assert (workshop.app / "ran").exists()
    assert [fields["code"] for event, fields in workshop.events if event is Event.WARNING] == ["build-uncontained"]
