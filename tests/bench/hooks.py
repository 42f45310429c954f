"""The burst: signed pushes of a thousand branches and their duplicates, at once, over real HTTP to a real daemon.

`python -m tests.bench.hooks [HOOKS] [CONNECTIONS]` starts a daemon on the loopback and in a folder of its own, and tells
how long the answers took, whether one was lost, and whether one was done twice. The daemon's and the client's time are
measured together, on the same processors.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
SERVE = [sys.executable, "-c", "from deployd.cli.main import main; main()"]


def payload(number: int) -> bytes:
    commit = {"id": f"{number:040x}", "message": "x", "added": [], "removed": [], "modified": ["a"]}
    return json.dumps(
        {
            "ref": f"refs/heads/b{number}",
            "before": "1" * 40,
            "after": f"{number + 1:040x}",
            "commits": [commit],
            "head_commit": commit,
            "repository": {"full_name": "acme/shop", "html_url": "https://forge.example/acme/shop"},
            "sender": {"login": "anna"},
        }
    ).encode()


def send(connection: http.client.HTTPConnection, number: int, secret: bytes) -> tuple[float, int]:
    body = payload(number)
    headers = {
        "content-type": "application/json",
        "x-github-event": "push",
        "x-github-delivery": f"d-{number}",
        "x-hub-signature-256": "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest(),
    }
    began = time.perf_counter()
    connection.request("POST", "/hooks/shop", body=body, headers=headers)
    answer = connection.getresponse()
    answer.read()
    return time.perf_counter() - began, answer.status


def burst(port: int, secret: bytes, *, hooks: int, connections: int) -> list[tuple[float, int]]:
    """Each hook once, and every tenth a second time."""
    numbers = [*range(hooks), *range(0, hooks, 10)]
    ready = threading.Barrier(connections)

    def work(part: list[int]) -> list[tuple[float, int]]:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ready.wait()
        found = [send(connection, number, secret) for number in part]
        connection.close()
        return found

    with ThreadPoolExecutor(connections) as pool:
        parts = pool.map(work, [numbers[n::connections] for n in range(connections)])
        return [one for part in parts for one in part]


def main() -> None:
    hooks, connections = (int(word) for word in [*sys.argv[1:], *["1000", "40"][len(sys.argv) - 1 :]])
    bench_hooks(hooks, connections)


def bench_hooks(hooks: int = 1000, connections: int = 40, *, say: Callable[[str], None] = print) -> None:
    """The burst; `say` gets three lines. Raises SystemExit when a delivery was lost, or done twice."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        environment = {
            **os.environ,
            "DEPLOYD_STATE_DIR": str(state),
            "DEPLOYD_LISTEN": f"127.0.0.1:{port}",
            "PYTHONPATH": str(ROOT),
        }
        with (Path(folder) / "log").open("wb") as log:
            daemon = subprocess.Popen([*SERVE, "serve"], env=environment, stdout=log, stderr=log)
        try:
            secret = _set_up(environment, Path(folder))
            before = _processor(daemon.pid)
            found = burst(port, secret.encode(), hooks=hooks, connections=connections)
            spent = (_processor(daemon.pid) - before) / len(found)
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(60)
        _tell(found, state, hooks=hooks, connections=connections, say=say)
        say(f"hooks: {spent * 1000:.2f} ms of a core in the daemon for each delivery")


def _processor(pid: int) -> float:
    """Seconds of a core that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _set_up(environment: dict[str, str], folder: Path) -> str:
    repository = folder / "repository"
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", repository], check=True)
    deadline = time.monotonic() + 60
    while True:
        added = ["app", "add", "shop", "--repository", str(repository)]
        done = subprocess.run([*SERVE, *added], env=environment, check=False, capture_output=True)
        if done.returncode == 0:
            break
        if time.monotonic() > deadline:
            raise SystemExit(done.stderr.decode())
        time.sleep(0.3)
    shown = subprocess.run([*SERVE, "hook", "show", "shop", "--json"], env=environment, check=True, capture_output=True)
    return str(json.loads(shown.stdout)["secret"])


def _tell(
    found: list[tuple[float, int]], state: Path, *, hooks: int, connections: int, say: Callable[[str], None]
) -> None:
    times = sorted(seconds * 1000 for seconds, _ in found)
    with sqlite3.connect(state / "deployd.sqlite") as database:
        (asked,) = database.execute("SELECT count(*) FROM asks WHERE cause = 'push'").fetchone()
        (kept,) = database.execute("SELECT count(*) FROM deliveries").fetchone()
    codes = {code: sum(one == code for _, one in found) for code in {code for _, code in found}}
    say(
        f"hooks: {len(found)} deliveries of {hooks} pushes over {connections} connections: "
        f"median {statistics.median(times):.1f} ms, p99 {times[int(len(times) * 0.99)]:.1f} ms, slowest {times[-1]:.1f} ms (p99 at most 150)"
    )
    say(f"hooks: answers {codes}; kept {kept}, asked {asked} (should be {hooks} each)")
    if (asked, kept) != (hooks, hooks):
        raise SystemExit("deliveries were lost, or done twice")


if __name__ == "__main__":
    main()
