"""A stranger's app goes live: its files come in, `deployd init --yes` and `deployd release` run, and visitors ask."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sites import Site
    from tests.support.workbench import Workbench
    from tests.support.world import Told, World

_GIT = (
    "git",
    "-c",
    "user.name=a",
    "-c",
    "user.email=a@b",
    "-c",
    "commit.gpgsign=false",
    "-c",
    "init.defaultBranch=main",
)


@dataclass(frozen=True)
class Went:
    """What `init --json` said, what `init` says to people, and what `release --json` told."""

    init: dict[str, Any]
    told: Told


def put(world: World, site: Site, bench: Workbench) -> None:
    """The app's repository, with its lock file, committed; nothing about deployment in it."""
    (world.app / "deployd.toml").unlink(missing_ok=True)
    site.write(world.app)
    if site.manager:
        bench.lock(world.app, manager=site.manager)
    (world.app / ".gitignore").write_text("node_modules\n.next\ndist\n.output\n")
    git(world.app, "init", "-q")
    commit(world.app)


def commit(folder: Path) -> None:
    """Commit everything that is there."""
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "work")


def git(folder: Path, *words: str) -> str:
    """Run git there; returns what it says."""
    return subprocess.run(
        [*_GIT, *words], cwd=folder, check=True, capture_output=True, text=True, env=os.environ
    ).stdout


def go(world: World, site: Site, *words: str, timeout: float = 600) -> Went:
    """`init --yes` and `release`, and nothing else."""
    at = ("-C", str(world.app / site.folder))
    hosts = ",".join(host.name for host in world.hosts)
    init = world.run("init", "--yes", "--name", world.name, "--hosts", hosts, "--json", *at).document
    told = world.run("release", "--json", "--yes", *words, *at, timeout=timeout)
    return Went(init, told)


def asked(world: World, site: Site, *, host: int = 0) -> None:
    """Every question of the site's is answered as it should be, through the web server."""
    for path, status, text in ((site.probe[0], 200, site.probe[1]), *site.asks):
        got, body, headers = world.ask(path, host=host)
        assert (got, text in body) == (status, True), f"{path}: {got} {headers} {body[:2000]}"


def said_over_websocket(world: World, path: str, text: str, *, host: int = 0) -> str:
    """One text sent over a WebSocket through the web server; returns the one that comes back."""
    address = world.hosts[host].address
    key = base64.b64encode(os.urandom(16)).decode()
    head = (
        f"GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    data, mask = text.encode(), b"\x01\x02\x03\x04"
    frame = bytes([0x81, 0x80 | len(data)]) + mask + bytes(one ^ mask[n % 4] for n, one in enumerate(data))
    with socket.create_connection((address, 80), timeout=20) as connection:
        connection.sendall(head.encode())
        stream = connection.makefile("rb")
        status = stream.readline().split()[1]
        assert status == b"101", status
        while stream.readline() not in (b"\r\n", b""):
            pass
        connection.sendall(frame)
        _, length = stream.read(2)
        return stream.read(length).decode()


def changed_since(folder: Path) -> list[str]:
    """What the repository holds that its last commit does not, but for deployd.toml: nothing, always."""
    lines = git(folder, "status", "--porcelain", "--ignored").splitlines()
    return [line for line in lines if not line.endswith("deployd.toml")]


def document(told: Told) -> Any:
    """A command's JSON."""
    return json.loads(told.out)
