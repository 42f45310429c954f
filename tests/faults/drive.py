"""A whole rollout in a process of its own, on folder hosts and with quick stand-ins for the stages of this machine.

    drive.py STATE HOSTS release|rollback|resume|approve [--commit C] [--no-activate]
    drive.py serve

Prints one JSON document: the result, or the error. `serve` imports all of it once and then forks: a line of JSON on
stdin (`argv`, `env`, `out`) makes a process, whose pid and exit code are written beside its output.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import threading
from pathlib import Path

from deployd.client import Client
from deployd.domain.artifact import Artifact, Manifest, Runtime
from deployd.domain.ids import AppName, BuildId, EnvironmentName, HostName, RuntimeName
from deployd.domain.options import Approval, Options, Waves
from deployd.domain.stages import BuildOutput, BuildPlan, FileSet, SourceRequest, SourceTree
from deployd.errors import DeploydError
from deployd.paths import StatePaths
from deployd.rollouts import checkout, making, perform, sharing, verifying
from deployd.rollouts.testing import FolderPool
from deployd.rollouts.wishes import ReleaseWish, RollbackWish
from deployd.stages import verify

APP, PRODUCTION = AppName.parse("shop"), EnvironmentName.parse("production")


def _commit(ref: str) -> str:
    """A whole commit id is one of a real repository; another ref is a made-up commit's name."""
    return ref if re.fullmatch("[0-9a-f]{40}", ref) else hashlib.sha1(ref.encode()).hexdigest()


class Stages:
    """Stand-ins: a tree is its commit, a build is a file, an artifact is empty."""

    @staticmethod
    def checkout(request, *, into, **_):
        into.mkdir(parents=True)
        return SourceTree(
            root=str(into), app_dir=str(into), tree_hash=request.ref,
            commit=_commit(request.ref), branch="main", ref=request.ref, subject="s", author="a", dirty=False,
        )  # fmt: skip

    @staticmethod
    def remove(folder):
        shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def plan_for(tree, _options, **_):
        return BuildPlan(
            framework="nextjs", framework_version="16", manager="npm", manager_version="10", install=("npm", "ci"),
            command=("npm", "run", "build"), node="22.22.3", lockfile="package-lock.json", lockfile_sha256="0",
            build_id=BuildId.parse("b" + hashlib.sha256(tree.tree_hash.encode()).hexdigest()[:20]),
        )  # fmt: skip

    @staticmethod
    def build(tree, plan, *, log, cancel=None, **_):
        if cancel is not None and (os.environ.get("DRIVE_BUILD_S") or os.environ.get("DRIVE_BUILD_FILE")):
            cancel.wait(float(os.environ.get("DRIVE_BUILD_S", "0")))
            held = Path(os.environ.get("DRIVE_BUILD_FILE", "/nowhere"))  # while it is there, builds go on
            while held.exists() and not cancel.wait(0.05):
                pass
            if cancel.is_set():
                from deployd.errors import CancelledError

                raise CancelledError("the build was cancelled", fix="again")
        Path(tree.app_dir, "built").write_text(tree.tree_hash)
        return BuildOutput(root=tree.root, app_dir=tree.app_dir, plan=plan, built=1, log=str(log), seconds=0.0)

    @staticmethod
    def trace(output, **_):
        assert Path(output.app_dir, "built").exists()
        return FileSet(root=output.root, entry="server.js", files=())

    @staticmethod
    def package(files, **_):
        manifest = Manifest(entry=files.entry, files=())
        return Artifact(name=manifest.name, manifest_path="m", files=0, size=0)

    @staticmethod
    def load(_artifacts, _name):
        return Manifest(entry="server.js", files=())

    @staticmethod
    def fetch(version, **_):
        name = RuntimeName.parse(f"node-{version}-linux-x64-glibc")
        return Runtime(name=name, path="/node", sha256="0" * 64, size=1)

    @staticmethod
    def keep_install(_output, **_):
        return None

    @staticmethod
    def keep_within(*_):
        return None


class Verification:
    """A stand-in: nothing runs, and nothing is missing."""

    Fleet, Checkout, Verified = verify.Fleet, verify.Checkout, verify.Verified
    refusal = staticmethod(verify.refusal)

    @staticmethod
    def check_natives(_manifest, **_):
        return ()

    @staticmethod
    def remembered(*_, **__):
        return None

    @staticmethod
    def remember(*_):
        return None

    @staticmethod
    def verify(_manifest, **_):
        return verify.Verified(paths=("/",), started=True, findings=(), seconds=0.0)


def stand_in() -> None:
    for name in ("build_stage", "trace_stage", "package_stage", "runtimes"):
        setattr(making, name, Stages)
    checkout.source_stage = Stages
    sharing.package = Stages
    verifying.verify_stage = Verification


def wish_of(hosts, arguments):
    strategy = "canary" if arguments.waves else "all"
    consent = Approval(mode=arguments.approval, timeout=arguments.approval_timeout)
    waves = Waves(
        strategy=strategy, pause=0.01, before=arguments.before, bake=arguments.bake, drain_wait=arguments.drain
    )
    options = Options(waves=waves, approval=consent)
    if arguments.verb == "rollback":
        return RollbackWish(app=APP, environment=PRODUCTION, hosts=hosts, options=options)
    return ReleaseWish(
        app=APP,
        environment=PRODUCTION,
        source=SourceRequest(repository="/r", ref=arguments.commit),
        hosts=hosts,
        options=options,
        activate=not arguments.no_activate,
        timeout=arguments.timeout,
        confirm_within=arguments.confirm_within,
    )


def serve() -> None:
    import importlib

    for name in ("engine", "release", "rollback", "perform"):
        importlib.import_module(f"deployd.rollouts.{name}")
    for line in sys.stdin:
        wanted = json.loads(line)
        if os.fork() == 0:  # the monitor: it waits for the worker, and the server goes on
            worker = os.fork()
            if worker == 0:
                _work(wanted)
            Path(wanted["out"] + ".pid").write_text(str(worker))
            _, status = os.waitpid(worker, 0)
            code = Path(wanted["out"] + ".code")
            code.with_suffix(".part").write_text(str(os.waitstatus_to_exitcode(status)))
            code.with_suffix(".part").rename(code)
            os._exit(0)


def _work(wanted: dict) -> None:
    out = os.open(wanted["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    err = os.open(wanted["out"] + ".err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.environ.update(wanted["env"])
    sys.argv = ["drive.py", *wanted["argv"]]
    try:
        main()
    except BaseException:  # noqa: BLE001 - the test shows it
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    os._exit(70)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("state", type=Path)
    parser.add_argument("hosts", type=Path)
    parser.add_argument("verb", choices=["release", "rollback", "resume", "approve"])
    parser.add_argument("--commit", default="one")
    parser.add_argument("--no-activate", action="store_true")
    parser.add_argument("--waves", action="store_true")
    parser.add_argument("--before")
    parser.add_argument("--bake", type=float, default=0.0)
    parser.add_argument("--drain", type=float, default=0.0)
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--confirm-within", type=float)
    parser.add_argument("--approval", default="off")
    parser.add_argument("--approval-timeout", type=float, default=3600.0)
    parser.add_argument("--who", default="ada")
    arguments = parser.parse_args()
    stand_in()
    perform.TAKE_OVER_AFTER = float(os.environ.get("DRIVE_TAKE_OVER_AFTER", perform.TAKE_OVER_AFTER))
    client = Client(
        StatePaths(arguments.state), who=arguments.who, connect=lambda hosts: FolderPool.below(arguments.hosts, hosts)
    )
    hosts = tuple(HostName(host.name) for host in client.hosts())
    cancel = threading.Event()
    told = []

    def report(event, /, **fields):
        told.append({"event": str(event), **fields})

    try:
        if arguments.verb == "resume":
            done = [result.to_json() for result in client.resume(report=report, cancel=cancel)]
        elif arguments.verb == "approve":
            done = client.agenda.approve(
                None, APP, PRODUCTION, during_freeze=False, report=report, cancel=cancel
            ).to_json()  # fmt: skip
        elif arguments.verb == "rollback":
            done = client.rollback(wish_of(hosts, arguments), report=report, cancel=cancel).to_json()
        else:
            done = client.release(wish_of(hosts, arguments), report=report, cancel=cancel).to_json()
        code, document = 0, {"result": done}
    except DeploydError as error:
        code, document = error.exit_code, {"error": {**error.to_json(), "class": type(error).__name__}}
    print(json.dumps({**document, "events": told}))
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    serve() if sys.argv[1:] == ["serve"] else main()
