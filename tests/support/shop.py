"""A person's repository with the example app, the whole chain to its artifact, and a server that runs it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd.domain.artifact import Artifact, LinkEntry, Manifest, content_time
from deployd.domain.options import Build
from deployd.domain.secret import Secret
from deployd.domain.stages import BuildOutput, BuildPlan, FileSet, SourceRequest
from deployd.stages import build, package, source, trace
from deployd.stages.build import runtime
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployd.domain.events import Event


EXAMPLE = Path(__file__).parents[2] / "examples" / "nextjs"
KEY = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
CANARY = "canary-7f3a91-value"
VARIABLES = {
    "NEXT_SERVER_ACTIONS_ENCRYPTION_KEY": KEY,
    "BUILD_SECRET": CANARY,
    "NEXT_PUBLIC_GREETING": "good morning",
}


def git(*words: str, cwd: Path) -> None:
    who = {f"GIT_{who}_{what}": "ada@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *words], cwd=cwd, env=os.environ | who, check=True, capture_output=True)


def commit(repository: Path, **files: str) -> None:
    for name, text in files.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)
    git("add", "--all", "--force", cwd=repository)
    git("commit", "--quiet", "-m", "change", cwd=repository)


@dataclass
class Made:
    """What one run of the chain gave."""

    plan: BuildPlan
    output: BuildOutput
    files: FileSet
    artifact: Artifact
    manifest: Manifest
    events: list[tuple[Event, dict[str, Any]]]
    assembled: FileSet

    def told(self, event: Event) -> list[dict[str, Any]]:
        return [fields for told, fields in self.events if told is event]


class Shop:
    """A person's repository with the example app, and a state folder."""

    def __init__(self, folder: Path) -> None:
        self.repository, self.state = folder / "repository", folder / "state"
        names = [
            name
            for name in sorted(path.name for path in EXAMPLE.iterdir())
            if name not in ("node_modules", ".next", "next-env.d.ts")
        ]
        self.repository.mkdir()
        for name in names:
            copy = shutil.copytree if (EXAMPLE / name).is_dir() else shutil.copy2
            copy(EXAMPLE / name, self.repository / name)
        git("init", "--quiet", "--initial-branch=main", cwd=self.repository)
        commit(self.repository, **{
            ".env": f"COMMITTED={CANARY}\n", ".env.production": "X=1\n", "public/key.pem": "k", "public/.env.example": "",
        })  # fmt: skip

    @property
    def artifacts(self) -> Path:
        return self.state / "artifacts"

    @property
    def caches(self) -> Path:
        return self.state / "caches" / "shop"

    def make(self, *, options: Build | None = None, **more: Any) -> Made:
        options = options or Build()
        events: list[tuple[Event, dict[str, Any]]] = []

        def report(event: Event, /, **fields: object) -> None:
            events.append((event, json.loads(json.dumps(fields))))

        into = self.state / "checkouts" / "shop-production"
        shutil.rmtree(into, ignore_errors=True)
        tree = source.checkout(
            SourceRequest(repository=str(self.repository)), mirrors=self.state / "mirrors", into=into, report=report
        )
        plan = build.plan(tree, options, app="shop", environment="production", variables=VARIABLES)
        node = runtime.fetch(plan.node, runtimes=self.state / "runtimes")
        log = self.state / "logs" / "build.log"
        output = build.build(
            tree, plan, options=options, caches=self.caches, log=log, node=Path(node.path), report=report,
            variables={name: Secret(value) for name, value in VARIABLES.items()}, **more,
        )  # fmt: skip
        files = trace.trace(output, tools=self.state / "tools")
        standalone = Path(output.app_dir) / ".next" / "standalone"
        standalone.rename(self.state / "aside")
        assembled = trace.trace(output, tools=self.state / "tools")
        (self.state / "aside").rename(standalone)
        artifact = package.package(files, built=output.built, artifacts=self.artifacts)
        build.keep_install(output, caches=self.caches)
        return Made(plan, output, files, artifact, package.load(self.artifacts, artifact.name), events, assembled)


def lay_out(manifest: Manifest, *, artifacts: Path, into: Path) -> Path:
    """What a host's seal does: files and links from the manifest, nothing else, read-only."""
    for entry in manifest.files:
        path = into / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(entry, LinkEntry):
            path.symlink_to(entry.target)
            continue
        shutil.copyfile(artifacts / "objects" / entry.sha256[:2] / entry.sha256, path)
        path.chmod(0o555 if entry.mode & 0o111 else 0o444)
        moment = manifest.built if entry.time == "build" else content_time(entry.sha256)
        os.utime(path, (moment, moment))
    for name, place in manifest.writable.items():
        (into.parent / "writable" / name).mkdir(parents=True)
        (into / place).parent.mkdir(parents=True, exist_ok=True)
        (into / place).symlink_to(into.parent / "writable" / name)
    return into


class Served:
    """A running release, asked over TCP."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self, path: str, *, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace"), {k.lower(): v for k, v in answer.getheaders()}
        finally:
            connection.close()


@contextmanager
def running(tree: Path, *, entry: str, node: Path, log: Path) -> Iterator[Served]:
    port = free_port()
    env = {
        "PATH": "/usr/bin:/bin", "NODE_ENV": "production", "PORT": str(port), "HOSTNAME": "localhost", "HOME": "/tmp",
        "DEPLOYD_RELEASE": "20261121-101530-3fa9c01-k2x7", "NEXT_SERVER_ACTIONS_ENCRYPTION_KEY": KEY,
        "GREETING": "from the environment",
    }  # fmt: skip
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(node), "--require", str(tree / ".deployd" / "listen.cjs"), str(tree / entry)],
            cwd=tree, env=env, stdout=out, stderr=out,
        )  # fmt: skip
        try:
            served = Served(port)
            for _ in range(1000):
                try:
                    if served.ask("/health")[0] == 200:
                        break
                except OSError:
                    assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            yield served
        finally:
            process.terminate()
            process.wait(timeout=20)
