"""One web server takes over from another, on sockets like systemd's: nobody is cut off, and nobody waits for ever."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployd.hosts import webserver
from tests.contract.realweb import LAUNCH
from tests.support.stopping import stop

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
KEEPER = ROOT / "playbooks/files/deployd_web"
CONFIG = """
{
	admin unix/{$DEPLOYD_WEB_RUN}/admin.sock
	persist_config off
	grace_period 20s
	shutdown_delay 1s
}
http:// {
	bind fd/3 {
		protocols h1
	}
	@ending vars {http.shutting_down} true
	header @ending >Connection close
	header X-Deployd-Release VERSION
	respond "from VERSION"
}
"""


@dataclass
class Kept:
    """The keeper with three slots, and what it was given."""

    folder: Path
    port: int
    sockets: list[socket.socket]
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def configure(self, version: str) -> None:
        (self.folder / "Caddyfile").write_text(CONFIG.replace("VERSION", version))

    def start(self) -> None:
        numbers = [str(one.fileno()) for one in self.sockets]
        argv = ["/usr/bin/python3", "-IS", str(KEEPER), "run"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-IS", "-c", LAUNCH, str(len(numbers)), *numbers, *argv],
                pass_fds=[one.fileno() for one in self.sockets], env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip

    def reload(self) -> subprocess.CompletedProcess[str]:
        argv = ["/usr/bin/python3", "-IS", str(KEEPER), "reload"]
        return subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=90)

    def ask(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def caddies(self) -> list[int]:
        """The processes that the keeper has started and that are there."""
        assert self.process
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in path.read_text().split()]

    def wait_for_one(self) -> None:
        deadline = time.monotonic() + 30
        while len(self.caddies()) != 1:
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def wait_for_visitors(self) -> None:
        """Until somebody is connected."""
        deadline = time.monotonic() + 30
        words = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        while not any(line[1].endswith(f":{self.port:04X}") and line[3] == "01" for line in words):
            assert time.monotonic() < deadline
            time.sleep(0.02)
            words = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]

    def wait_until_watched(self) -> None:
        """Until the keeper asks its Caddy for the second time: silence counts once there was an answer."""
        deadline = time.monotonic() + 60
        while (self.folder / "log").read_text().count("received request") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def wait_for_end_of(self, pid: int) -> None:
        deadline = time.monotonic() + 60
        while pid in self.caddies():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def close(self) -> None:
        if self.process:
            pids = self.caddies() if self.process.poll() is None else []
            self.process.kill()
            self.process.wait()
            for pid in pids:  # they are nobody's children any more
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for one in self.sockets:
            one.close()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    sockets: list[socket.socket] = []
    for _ in range(3):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", sockets[0].getsockname()[1] if sockets else 0))
        one.listen(4096)
        sockets.append(one)
    (tmp_path / "run").mkdir()
    made = Kept(tmp_path, sockets[0].getsockname()[1], sockets)
    made.environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LISTEN_FDS": "3", "DEPLOYD_WEB_RUN_ROOT": str(tmp_path / "run"),
        "DEPLOYD_WEB_PROGRAM": str(webserver.fetch("x64").path), "DEPLOYD_WEB_CONFIG": str(tmp_path / "Caddyfile"),
    }  # fmt: skip
    made.configure("one")
    yield made
    made.close()


def test_who_came_before_the_web_server_is_answered_in_whatever_queue_he_waits(kept: Kept) -> None:
    waiting = []
    for _ in range(24):  # the kernel spreads them over three queues
        one = socket.create_connection(("127.0.0.1", kept.port), 30)
        one.sendall(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        waiting.append(one)
    kept.start()
    for one in waiting:
        answer = b""
        while chunk := one.recv(4096):
            answer += chunk
        one.close()
        assert answer.endswith(b"from one")


def test_a_new_one_takes_over_under_load_and_one_that_does_not_start_takes_nothing(kept: Kept) -> None:
    kept.start()
    assert kept.ask() == "from one"
    load = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/support/load.py"), "--connections", "8", f"http://127.0.0.1:{kept.port}/"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        kept.wait_for_visitors()
        for version in ("two", "three", "four"):
            kept.configure(version)
            done = kept.reload()
            assert (done.returncode, done.stderr) == (0, "")
            assert kept.ask() == f"from {version}"
        (kept.folder / "Caddyfile").write_text("{ nonsense")
        refused = kept.reload()
        assert refused.returncode == 1
        assert "before it was ready" in refused.stderr
        assert kept.ask() == "from four"
        kept.wait_for_one()  # those before have ended
        assert [one.name for one in (kept.folder / "run").glob("g[0-9]*")] == ["g4"]
    finally:
        load.send_signal(signal.SIGTERM)
        told: dict[str, Any] = json.loads(load.communicate(timeout=60)[0])
    assert told["failed"] == 0, told
    assert told["requests"] > 100
    assert set(told["releases"]) == {"one", "two", "three", "four"}


def test_a_killed_one_is_replaced_and_an_end_lets_others_wait(kept: Kept) -> None:
    kept.start()
    assert kept.ask() == "from one"
    (pid,) = kept.caddies()
    os.kill(pid, signal.SIGKILL)
    assert kept.ask() == "from one"
    assert kept.process
    kept.process.terminate()
    assert kept.process.wait(30) == 0
    assert (kept.folder / "run/leaving").exists(), "a load balancer is told"
    late = socket.create_connection(("127.0.0.1", kept.port), 30)
    late.sendall(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    kept.start()
    assert late.recv(4096).startswith(b"HTTP/1.0 200")
    late.close()
    assert not (kept.folder / "run/leaving").exists()


def test_one_that_hangs_gets_a_successor_and_is_killed(kept: Kept) -> None:
    kept.environment["DEPLOYD_WEB_SILENT"] = "2"
    kept.start()
    assert kept.ask() == "from one"
    (pid,) = kept.caddies()
    kept.wait_until_watched()
    stop(pid)

    assert kept.ask() == "from one"  # who waits where it does not accept is answered, too
    kept.wait_for_end_of(pid)


def test_one_that_was_only_slow_finishes_what_it_has(kept: Kept) -> None:
    kept.environment["DEPLOYD_WEB_SILENT"] = "2"
    kept.start()
    assert kept.ask() == "from one"
    (pid,) = kept.caddies()
    kept.wait_until_watched()
    with socket.create_connection(("127.0.0.1", kept.port), 30) as early:
        early.sendall(b"GET / HTTP/1.1\r\n")
        kept.wait_for_visitors()
        stop(pid)
        kept.configure("two")
        deadline = time.monotonic() + 30
        while not (kept.folder / "run/g2/admin.sock").exists():
            assert time.monotonic() < deadline, (kept.folder / "log").read_text()
            time.sleep(0.02)
        os.kill(pid, signal.SIGCONT)
        early.sendall(b"Host: a\r\n\r\n")
        answer = early.recv(4096)
    assert answer.endswith(b"from one"), (answer, (kept.folder / "log").read_text())
    kept.wait_for_end_of(pid)
    assert kept.ask() == "from two"
