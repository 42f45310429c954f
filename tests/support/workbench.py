"""An app through detection, plan, install, build, trace and package for real; and then run from its artifact alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd import process
from deployd.domain.artifact import LinkEntry, Manifest
from deployd.domain.options import Build, Trace
from deployd.domain.stages import BuildOutput, BuildPlan, FileSet, SourceTree
from deployd.stages import build, package, trace
from deployd.stages.build import installs, runtime
from deployd.stages.build.environment import make_home, registry_environment
from tests.support import weights
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployd.domain.events import Event

_LOCK = {
    "npm": ("npm", "install", "--package-lock-only", "--no-audit", "--no-fund"),
    "pnpm": ("pnpm", "install", "--lockfile-only"),
    "yarn": ("yarn", "install", "--mode=update-lockfile", "--no-immutable"),
    "yarn-1": ("yarn", "install", "--ignore-scripts", "--no-progress"),
    "bun": ("bun", "install", "--lockfile-only"),
}
_CPUS = {"arm", "arm64", "ia32", "x64", "ppc64", "s390x", "riscv64", "wasm32"}
_LOCK_FILES = {
    "npm": "package-lock.json",
    "pnpm": "pnpm-lock.yaml",
    "yarn": "yarn.lock",
    "yarn-1": "yarn.lock",
    "bun": "bun.lock",
}


@dataclass(frozen=True)
class Made:
    """What one app became."""

    plan: BuildPlan
    output: BuildOutput
    files: FileSet
    manifest: Manifest
    told: list[tuple[Event, dict[str, Any]]] = field(default_factory=list)


class Workbench:
    """One state folder for many apps."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.artifacts = state / "artifacts"

    def tree(self, root: Path, folder: str = "") -> SourceTree:
        """A checkout, as the stage before would hand it over."""
        return SourceTree(
            root=str(root), app_dir=str(root / folder), tree_hash="t" * 40, commit=None, branch=None, ref="HEAD",
            subject=None, author=None, dirty=False,
        )  # fmt: skip

    def lock(self, root: Path, *, manager: str = "npm") -> None:
        """What a person does on their machine: make the lock file."""
        placeholder = root / _LOCK_FILES[manager]
        placeholder.write_text("")
        tree = self.tree(
            root, next((p.parent.relative_to(root).as_posix() for p in root.glob("apps/web/package.json")), "")
        )
        plan = build.plan(tree, Build(), app="shop", environment="production", variables={})
        placeholder.unlink()
        home = self.state / "person"
        make_home(home)
        tools = installs.tools(plan, caches=self.state / "caches")
        path = [str(self.node(plan.node).parent), *([str(tools)] if tools else []), "/usr/bin:/bin"]
        env = registry_environment() | {"PATH": ":".join(path), "HOME": str(home), "LANG": "C.UTF-8"}
        for _ in range(99):
            done = process.run(_LOCK[manager], cwd=root, timeout=300, env=env, check=manager != "yarn")
            if done.returncode == 0:
                break
            _stand_in(root / "package.json", done.stdout.decode())
        for path in root.rglob("node_modules"):
            shutil.rmtree(path, ignore_errors=True)
        if manager == "npm":
            _complete(root / "package-lock.json")

    def node(self, version: str) -> Path:
        """A pinned Node.js."""
        return Path(runtime.fetch(version, runtimes=self.state / "runtimes").path)

    def plan(self, root: Path, folder: str = "", options: Build | None = None) -> BuildPlan:
        """Plan alone."""
        return build.plan(
            self.tree(root, folder), options or Build(), app="shop", environment="production", variables={}
        )

    def make(
        self,
        root: Path,
        folder: str = "",
        *,
        name: str = "shop",
        options: Build | None = None,
        wish: Trace | None = None,
    ) -> Made:
        """Everything up to the artifact."""
        told: list[tuple[Event, dict[str, Any]]] = []

        def report(event: Event, /, **fields: object) -> None:
            told.append((event, fields))

        plan = self.plan(root, folder, options)
        output = build.build(
            self.tree(root, folder), plan, options=options or Build(), caches=self.state / "caches" / name,
            log=self.state / "logs" / f"{name}.log", variables={}, node=self.node(plan.node), report=report,
        )  # fmt: skip
        files = trace.trace(output, options=wish or Trace(), tools=self.state / "tools")
        artifact = package.package(files, built=output.built, artifacts=self.artifacts)
        weights.note(str(files.root).rpartition("/")[0].rpartition("/")[2], artifact, output)
        return Made(plan, output, files, package.load(self.artifacts, artifact.name), told)

    def lay_out(self, made: Made, into: Path) -> Path:
        """What a host's seal does: files and links from the manifest, nothing else, read-only."""
        for entry in made.manifest.files:
            path = into / entry.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(entry, LinkEntry):
                path.symlink_to(entry.target)
                continue
            shutil.copyfile(self.artifacts / "objects" / entry.sha256[:2] / entry.sha256, path)
            path.chmod(0o555 if entry.mode & 0o111 else 0o444)
        for name, place in made.manifest.writable.items():
            (into.parent / "writable" / name).mkdir(parents=True)
            (into / place).parent.mkdir(parents=True, exist_ok=True)
            (into / place).symlink_to(into.parent / "writable" / name)
        return into

    @contextmanager
    def serve(self, made: Made, into: Path) -> Iterator[Served]:
        """Run the artifact with nothing of the checkout in reach; the release folder is the working folder."""
        release = self.lay_out(made, into)
        top = Path(made.output.root)
        aside = top.with_name(f"{top.name}.aside")
        top.rename(aside)
        port = free_port()
        env = {
            "PATH": "/usr/bin:/bin",
            "NODE_ENV": "production",
            "PORT": str(port),
            "HOSTNAME": "localhost",
            "HOME": "/tmp",
        }
        log = into.with_name(f"{into.name}.log")
        words = [
            str(self.node(made.plan.node)),
            "--require",
            str(release / ".deployd" / "listen.cjs"),
            made.manifest.entry,
        ]
        with log.open("wb") as out:
            server = subprocess.Popen(words, cwd=release, env=env, stdout=out, stderr=out)
        try:
            yield Served(port, server, log)
        finally:
            server.terminate()
            server.wait(timeout=20)
            aside.rename(top)


def _stand_in(package: Path, said: str) -> None:
    """Packages for other platforms that the registry lacks: Yarn, which cannot leave any out, gets another for each."""
    lacking = re.findall(r"YN0082: [^@]*(@[\w./-]+)@npm", said)
    assert lacking, said
    data = json.loads(package.read_text())
    data["resolutions"] = data.get("resolutions", {}) | dict.fromkeys(lacking, "npm:ms@2.1.3")
    package.write_text(json.dumps(data, indent=2))


def _complete(lock: Path) -> None:
    """Name the packages for other platforms, as a lock file of a person's does: npm leaves out those it cannot ask for."""
    data = json.loads(lock.read_text())
    packages = data["packages"]
    for facts in list(packages.values()):
        for name, version in facts.get("optionalDependencies", {}).items():
            parts = set(re.split(r"[-/]", name))
            limits = {
                "os": sorted(parts & {"darwin", "win32", "linux", "android", "freebsd"}),
                "cpu": sorted(parts & _CPUS),
            }
            if f"node_modules/{name}" not in packages and any(limits.values()):
                told = {key: value for key, value in limits.items() if value}
                packages[f"node_modules/{name}"] = {"version": version, "optional": True, **told}
    lock.write_text(json.dumps(data, indent=2))


class Served:
    """A running release."""

    def __init__(self, port: int, server: subprocess.Popen[bytes], log: Path) -> None:
        self.port, self._server, self._log = port, server, log

    def ask(self, path: str) -> tuple[int, str]:
        """Status and text; waits for the server's start."""
        for _ in range(1000):
            try:
                with urllib.request.urlopen(f"http://localhost:{self.port}{path}", timeout=20) as answer:
                    return answer.status, answer.read().decode(errors="replace")
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode(errors="replace") + self._log.read_text()[-2000:]
            except OSError:
                assert self._server.poll() is None, self._log.read_text()
                time.sleep(0.05)
        raise AssertionError(self._log.read_text())


def put(root: Path, files: dict[str, str]) -> None:
    """Write more files."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file of a folder that is not below node_modules."""
    return {
        os.path.relpath(path, folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "node_modules" not in path.parts
    }
