"""The daemon's numbers: a rollback as a whole command through it, a push until its build begins, and what it takes idle.

`bench_daemon(world)` gets four hosts with two releases of the example app; the daemon takes over the same state folder.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.paths import StatePaths
from deployd.remote.connection import Connection, Daemon
from tests.support.world import DEPLOYD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.world import World

_TICKS = os.sysconf("SC_CLK_TCK")
_GIT = ["git", "-c", "user.name=B", "-c", "user.email=b@example.com"]


def bench_daemon(world: World, *, say: Callable[[str], None], rounds: int = 11, idle: float = 60.0) -> None:
    """Print a line for each number, with what is asked of it."""
    with served(world) as (process, port):
        _idle(process.pid, say=say, seconds=idle, when="just started")
        _rollback(world, process.pid, say=say, rounds=rounds)
        _push(world, port, say=say, rounds=rounds)
        _idle(process.pid, say=say, seconds=idle, when="after work")


@contextmanager
def served(world: World) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A daemon on the world's state folder, and its port on the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    env = {**world.environment(), "DEPLOYD_LISTEN": f"127.0.0.1:{port}"}
    with (world.folder / "daemon.log").open("wb") as log:
        process = subprocess.Popen([str(DEPLOYD), "serve"], env=env, stdout=log, stderr=log, cwd=world.folder)
    try:
        deadline = time.monotonic() + 60
        link = Connection(Daemon(socket=StatePaths(world.state).socket))
        while not link.probe():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit((world.folder / "daemon.log").read_text())
            time.sleep(0.1)
        link.close()
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _rollback(world: World, pid: int, *, say: Callable[[str], None], rounds: int) -> None:
    ids = [one["id"] for one in world.run("releases", "--json").document if one["live_at"]][:2]
    current = world.status()["release"]
    times, here, there = [], [], []
    for _ in range(rounds + 1):
        current = next(one for one in ids if one != current)
        began, client, daemon = time.monotonic(), _children(), _cpu(pid)
        world.run("rollback", current, "--yes")
        times.append(time.monotonic() - began)
        here.append(_children() - client)
        there.append(_cpu(pid) - daemon)
    middle, slowest = statistics.median(times[1:]), max(times[1:])
    say(
        f"daemon: `deployd rollback` as a whole command, {len(world.hosts)} hosts: median {middle:.3f} s, "
        f"slowest {slowest:.3f} s (at most 0.4); of a core: the command {statistics.median(here[1:]) * 1000:.0f} ms, "
        f"the daemon {statistics.mean(there[1:]) * 1000:.0f} ms"
    )


def _push(world: World, port: int, *, say: Callable[[str], None], rounds: int) -> None:
    world.run("app", "add", world.name, "--repository", str(world.app))
    secret = world.run("hook", "rotate", world.name, "--yes", "--json").document["secret"]
    world.run("unpin", check=None)
    times = []
    for number in range(rounds + 1):
        (world.app / "public" / "pushed.txt").write_text(f"{number}\n")
        subprocess.run([*_GIT, "add", "-A"], cwd=world.app, check=True)
        subprocess.run([*_GIT, "commit", "-qm", f"push {number}"], cwd=world.app, check=True)
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=world.app, check=True, capture_output=True, text=True)
        times.append(_one_push(world, port, secret.encode(), head.stdout.strip(), number))
    middle, slowest = statistics.median(times[1:]), max(times[1:])
    say(f"daemon: from the webhook to the build's begin: median {middle:.3f} s, slowest {slowest:.3f} s (at most 0.3)")


def _one_push(world: World, port: int, secret: bytes, commit: str, number: int) -> float:
    head = {"id": commit, "message": "x", "added": [], "removed": [], "modified": ["public/pushed.txt"]}
    body = json.dumps(
        {
            "ref": "refs/heads/main", "before": "1" * 40, "after": commit, "commits": [head], "head_commit": head,
            "repository": {"full_name": "acme/shop", "html_url": "https://forge.example/acme/shop"},
            "sender": {"login": "anna"},
        }
    ).encode()  # fmt: skip
    headers = {
        "content-type": "application/json", "x-github-event": "push", "x-github-delivery": f"bench-{commit}-{number}",
        "x-hub-signature-256": "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest(),
    }  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    began = time.monotonic()
    connection.request("POST", f"/hooks/{world.name}", body=body, headers=headers)
    rollout = json.loads(connection.getresponse().read())["rollout"]
    link = Connection(Daemon(socket=StatePaths(world.state).socket))
    took = None
    for name, fields in link.stream(f"/v1/rollouts/{rollout}/events"):
        if name == "stage_started" and fields.get("stage") == "build":
            took = time.monotonic() - began
            break
        if name == "end":
            raise SystemExit(f"the push ended before its build: {fields}")
    world.run("cancel", rollout, check=None)
    world.run("watch", rollout, "--json", check=None)
    link.close()
    connection.close()
    assert took is not None
    return took


def _idle(pid: int, *, say: Callable[[str], None], seconds: float, when: str) -> None:
    time.sleep(5)
    before, began = _cpu(pid), time.monotonic()
    time.sleep(seconds)
    share = (_cpu(pid) - before) / (time.monotonic() - began)
    say(f"daemon: idle, {when}: {_rss(pid):.0f} MB (at most 150), {share * 100:.2f} % of a core (below 1)")


def _children() -> float:
    """Seconds of a core that the commands so far have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rss(pid: int) -> float:
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
