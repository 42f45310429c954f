"""A lab's hosts as deployd's own: their state folder, a small app's manifest, and its way to a host."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import lab, paths, process
from deployd.domain.artifact import FileEntry, Manifest, Provenance, Runtime
from deployd.domain.host import Host
from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId, RuntimeName
from deployd.hosts.pool import Pool
from deployd.stages import ship

if TYPE_CHECKING:
    from collections.abc import Callable


APP, ENVIRONMENT = AppName.parse("hosts"), EnvironmentName.parse("production")
RUNTIME = RuntimeName.parse("node-22.22.3-linux-x64-glibc")
SERVER = b"""
const http = require('http')
http.createServer((request, response) => {
  if (request.url === '/sick') response.statusCode = 500
  response.end(`${process.env.DEPLOYD_RELEASE} ${process.env.CANARY || ''}`)
}).listen(3000)
"""


class Fleet:
    """The shared lab's hosts, bootstrapped with a state folder of our own."""

    def __init__(self, made, folder: Path) -> None:
        self.lab = made.name
        self.paths = paths.StatePaths(folder / "state").make()
        self.hosts = [
            Host(
                name=HostName.parse(one.name), address=one.address, admin_user=one.user, identity=one.identity,
                host_key=one.host_key,
            )
            for one in made.hosts
        ]  # fmt: skip
        self.names = tuple(host.name for host in self.hosts)
        self.folder = folder
        shim = Path(ship.__file__).parents[1] / "package" / "listen.cjs"
        self.contents = {"server.js": SERVER, ".deployd/listen.cjs": shim.read_bytes()}
        found = process.run(["node", "-p", "process.execPath"]).text.strip()
        node = folder / "runtime" / "node"
        node.parent.mkdir()
        node.write_bytes(Path(found).read_bytes())
        self.runtime = Runtime(
            name=RUNTIME, path=str(node), size=node.stat().st_size, sha256=hashlib.sha256(node.read_bytes()).hexdigest()
        )

    def pool(self, **options) -> Pool:
        return Pool(self.hosts, paths=self.paths, **options)

    def manifest(self, **more: bytes) -> Manifest:
        entries = []
        for path, content in sorted((self.contents | more).items()):
            name = hashlib.sha256(content).hexdigest()
            file = self.paths.artifacts / "objects" / name[:2] / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            entries.append(FileEntry(path=path, mode=0o644, size=len(content), sha256=name))
        return Manifest(entry="server.js", files=tuple(entries), built=1_790_000_000)

    def ship(self, pool: Pool, name: HostName, release: ReleaseId, manifest: Manifest, report=None) -> ship.Shipped:
        provenance = Provenance(
            app=APP, environment=ENVIRONMENT, release=release, artifact=manifest.name, build_id="b" + "0" * 20,
            runtime=RUNTIME, commit="3fa9c01", branch="main", ref="main", dirty=False, subject="s", author="a", who="w",
            message=None, created="2026-11-21T10:15:30Z", node="22.22.3", lockfile_sha256=None, framework="nextjs",
            deployd="0.1.0",
        )  # fmt: skip
        return ship.ship(
            pool, name, app=APP, environment=ENVIRONMENT, release=release, manifest=manifest, provenance=provenance,
            runtime=self.runtime, artifacts=self.paths.artifacts, report=report or (lambda *_args, **_fields: None),
        )  # fmt: skip

    def mend(self) -> None:
        for name in self.names:
            lab.mend(self.lab, name)


def wait_until(holds: Callable[[], bool], *, within: float = 60.0) -> bool:
    """Whether something comes true in time."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
