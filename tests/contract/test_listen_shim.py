"""The listen shim in a real Node.js: it takes systemd's socket, drains, and goes idle without losing a request."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHIM = Path(__file__).parents[2] / "deployd" / "stages" / "package" / "listen.cjs"
SERVER = """
const http = require("node:http");
const server = http.createServer((request, response) => {
  const wait = Number(new URL(request.url, "http://x").searchParams.get("wait") || 0);
  if (wait) console.log("asked");
  setTimeout(() => response.end("hello " + request.socket.remoteAddress), wait);
});
LISTEN
process.on("SIGTERM", () => { console.log("app handler"); server.close((e) => { console.log("closed", e); process.exit(143); }); });
"""


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))


class Served:
    """A server process on a socket that this test holds, as systemd would."""

    def __init__(self, folder: Path, *, listen: str, env: dict[str, str]) -> None:
        self.path = folder / "x.sock"
        self.connections: list[_Unix] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(64)
        script = folder / "server.cjs"
        script.write_text(SERVER.replace("LISTEN", listen))
        self.log = (folder / "log").open("w+")
        self.env = {"PATH": os.environ["PATH"], "PORT": "3000", "TMPDIR": str(folder)} | env
        self.script = folder / "entry"  # a release's unit starts a link
        self.script.symlink_to(script)
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        # sh sets LISTEN_PID to its own pid and becomes node, as systemd's exec does
        fd = self.listener.fileno()
        return subprocess.Popen(
            ["/bin/sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec node --require "$1" "$2"', "sh", SHIM, self.script],
            env=self.env,
            start_new_session=True,  # as a unit has: a scheduling group of its own
            preexec_fn=lambda: os.dup2(fd, 3),
            pass_fds=(3,),
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def connection(self) -> _Unix:
        self.connections.append(_Unix(self.path))
        return self.connections[-1]

    def get(self, path: str = "/") -> tuple[int, str, str | None]:
        connection = self.connection()
        connection.request("GET", path)
        answer = connection.getresponse()
        told = answer.status, answer.read().decode(), answer.getheader("Connection")
        connection.close()
        return told

    def output(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def wait_for(self, word: str, count: int = 1) -> None:
        """Until it has said this so often."""
        deadline = time.monotonic() + 60
        while self.output().count(word) < count:
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        self.process.kill()
        self.process.wait()
        self.listener.close()
        self.log.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    made: list[Served] = []

    def start(*, listen: str = "server.listen(Number(process.env.PORT));", **env: str) -> Served:
        made.append(Served(tmp_path, listen=listen, env=env))
        return made[-1]

    yield start
    for served in made:
        served.close()


def test_a_module_that_looks_whether_it_is_the_main_program_starts(serve: Callable[..., Served]) -> None:
    served = serve(listen="if (process.argv[1] === __filename) server.listen(Number(process.env.PORT));")
    assert served.get()[0] == 200


@pytest.mark.parametrize(
    "listen",
    [
        "server.listen(3000);",
        "server.listen('3000', 'localhost');",
        "server.listen({port: 3000, host: '::'});",
        "server.listen({path: false, host: '0.0.0.0', port: '3000'});",
        "server.listen(3000, '0.0.0.0', 511, () => console.log(server.address().port));",
        "server.listen(8123);",
        "net = require('node:net').createServer().listen(0, () => server.listen(3000));",
    ],
)
def test_server_takes_the_inherited_socket_however_it_listens(serve: Callable[..., Served], listen: str) -> None:
    served = serve(listen=listen)

    assert served.get() == (200, "hello 127.0.0.1", "keep-alive")


METRICS = "http.createServer((request, response) => response.end('metrics')).listen({port: METRICS, host: '127.0.0.1'}"


def metrics_of(port: int) -> str:
    """What the server says on a port of its own, once it is there."""
    deadline = time.monotonic() + 30
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        finally:
            connection.close()


@pytest.mark.parametrize(
    "listen",
    [
        f"{METRICS}); server.listen(3000, () => console.log('ready', server.address().port, server.listening));",
        f"{METRICS}, () => setTimeout(() => server.listen(3000, () => console.log('ready', 3000, true)), 200));",
        f"server.listen(3000, () => console.log('ready', 3000, true)); {METRICS});",
    ],
)
def test_visitors_get_the_server_on_port_and_metrics_keep_theirs(serve: Callable[..., Served], listen: str) -> None:
    port = free_port()
    served = serve(listen=listen.replace("METRICS", str(port)))

    assert metrics_of(port) == "metrics"
    served.wait_for("ready")
    assert served.get() == (200, "hello 127.0.0.1", "keep-alive")
    assert "ready 3000 true" in served.output()
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(20) == 143
    assert "closed" in served.output()


def test_a_port_that_the_release_before_has_still_is_waited_for(serve: Callable[..., Served]) -> None:
    port = free_port()
    with socket.socket() as before:
        before.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        before.bind(("127.0.0.1", port))
        before.listen()
        served = serve(listen=f"{METRICS}); server.listen(3000);".replace("METRICS", str(port)))
        assert served.get()[1] == "hello 127.0.0.1"
        served.wait_for("is taken")
    assert metrics_of(port) == "metrics"
    assert served.get()[1] == "hello 127.0.0.1"


def test_sigterm_answers_what_is_under_way_then_lets_the_app_stop(serve: Callable[..., Served]) -> None:
    served = serve()
    served.get()
    answers: list[tuple[int, str, str | None]] = []
    asking = threading.Thread(target=lambda: answers.append(served.get("/?wait=800")))
    asking.start()
    served.wait_for("asked")

    served.process.send_signal(signal.SIGTERM)
    asking.join()

    assert answers == [(200, "hello 127.0.0.1", "close")]
    assert served.process.wait(timeout=60) == 143
    assert "app handler" in served.output()
    assert "closed undefined" in served.output()


def test_an_idle_connection_is_not_closed_under_a_request(serve: Callable[..., Served]) -> None:
    served = serve()
    connection = served.connection()
    connection.request("GET", "/")
    connection.getresponse().read()

    served.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    connection.sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")  # it answers the head alone
    answer = http.client.HTTPResponse(connection.sock, method="POST")
    answer.begin()

    assert (answer.status, answer.getheader("Connection")) == (200, "close")
    answer.read()
    assert served.process.wait(timeout=60) == 143


def test_connections_made_after_sigterm_wait_for_the_next_process(serve: Callable[..., Served]) -> None:
    served = serve()
    served.get()
    served.process.send_signal(signal.SIGTERM)
    served.process.wait(timeout=60)

    connection = served.connection()
    connection.request("GET", "/")  # accepted by nobody, but queued
    second = served.start()
    try:
        assert connection.getresponse().status == 200
    finally:
        second.kill()
        second.wait()


def test_a_release_that_is_not_current_exits_when_idle(serve: Callable[..., Served], tmp_path: Path) -> None:
    (tmp_path / "id").write_text("another")
    served = serve(DEPLOYD_IDLE="0.6", DEPLOYD_RELEASE="mine", DEPLOYD_CURRENT=str(tmp_path / "id"))
    served.get()

    assert served.process.wait(timeout=60) == 75


def test_the_current_release_never_exits_when_idle(serve: Callable[..., Served], tmp_path: Path) -> None:
    (tmp_path / "id").write_text("mine")
    served = serve(DEPLOYD_IDLE="0.4", DEPLOYD_RELEASE="mine", DEPLOYD_CURRENT=str(tmp_path / "id"))
    served.get()

    with pytest.raises(subprocess.TimeoutExpired):
        served.process.wait(timeout=2)


def test_without_systemd_the_server_is_left_alone(tmp_path: Path) -> None:
    script = tmp_path / "s.cjs"
    script.write_text(
        "const s = require('node:http').createServer().listen(0, () => { console.log(s.address().port > 0); s.close(); });"
    )

    done = subprocess.run(["node", "--require", SHIM, script], capture_output=True, text=True, check=True, timeout=20)

    assert done.stdout.strip() == "true"


def niceness(pid: int) -> set[str]:
    """The nice values of a process: its scheduling group's, and its threads' where its limits let them change."""
    limits = Path(f"/proc/{pid}/limits").read_text()
    values = {Path(f"/proc/{pid}/autogroup").read_text().split()[-1]}
    if int(limits.partition("Max nice priority")[2].split()[0]) >= 20:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        values |= {str(os.getpriority(os.PRIO_PROCESS, int(task.name))) for task in tasks}
    return values


def becomes(served: Served, value: str) -> None:
    """Wait until the server's nice value is this one."""
    until = time.monotonic() + 60
    while niceness(served.process.pid) != {value}:
        assert time.monotonic() < until, niceness(served.process.pid)
        time.sleep(0.05)


def test_a_release_yields_until_visitors_reach_it(serve: Callable[..., Served], tmp_path: Path) -> None:
    current = tmp_path / "id"
    current.write_text("before")
    served = serve(DEPLOYD_CURRENT=str(current), DEPLOYD_RELEASE="new")
    assert served.get()[0] == 200
    becomes(served, "10")
    current.write_text("new")
    time.sleep(0.2)  # the kernel takes one change of a group in 0.1 s
    assert served.get()[0] == 200
    becomes(served, "0")


def test_a_release_that_takes_long_to_start_yields_less_and_less(serve: Callable[..., Served], tmp_path: Path) -> None:
    current = tmp_path / "id"
    current.write_text("before")
    served = serve(DEPLOYD_CURRENT=str(current), DEPLOYD_RELEASE="new")
    for value in ("10", "5", "0"):
        becomes(served, value)


def test_the_current_release_does_not_yield_when_it_starts_again(serve: Callable[..., Served], tmp_path: Path) -> None:
    current = tmp_path / "id"
    current.write_text("new")
    served = serve(DEPLOYD_CURRENT=str(current), DEPLOYD_RELEASE="new")
    assert served.get()[0] == 200
    assert niceness(served.process.pid) == {"0"}


ASKS_ITSELF = """
server.on("listening", async () => {
  for (const host of ["localhost", "127.0.0.1"]) {
    console.log("fetched", await (await fetch(`http://${host}:3000/`)).text());
    await new Promise((done) => http.get({ host, port: 3000 }, (answer) => {
      console.log("got", answer.statusCode);
      answer.resume().on("end", done);
    }));
  }
  await fetch("http://localhost:3001/").catch((error) => console.log("other", error.cause.code));
});
server.listen(3000);
"""


def test_a_server_that_asks_itself_by_tcp_gets_its_own_answer(serve: Callable[..., Served], tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    served = serve(listen=ASKS_ITSELF, TMPDIR=str(tmp_path / "tmp"))
    served.wait_for("other")
    assert served.output().splitlines() == [
        "fetched hello 127.0.0.1", "got 200", "fetched hello 127.0.0.1", "got 200", "other ECONNREFUSED",
    ]  # fmt: skip
    begun = time.monotonic()
    served.process.send_signal(signal.SIGTERM)
    served.process.wait(timeout=60)
    assert time.monotonic() - begun < 9  # its own kept connections hold nothing up
    assert list((tmp_path / "tmp").iterdir()) == []


FORKS = """
const cluster = require("node:cluster");
if (cluster.isPrimary) {
  for (let n = 0; n < 2; n++) cluster.fork();
  cluster.on("exit", () => cluster.fork());
  cluster.on("message", (worker, message) => console.log("seen", message));
  return;
}
server.listen(3000);
process.on("message", (message) => console.log("seen", message));
"""


def test_the_workers_of_a_cluster_share_the_socket_and_are_waited_for(serve: Callable[..., Served]) -> None:
    """What a worker is answering when SIGTERM comes is answered, and idle connections are not closed under a request."""
    served = serve(listen=FORKS, DEPLOYD_RELEASE="r1")
    idle = served.connection()
    idle.request("GET", "/")
    assert idle.getresponse().read() == b"hello 127.0.0.1"
    told: list[tuple[int, str, str | None]] = []
    asking = [threading.Thread(target=lambda: told.append(served.get("/?wait=1500"))) for _ in range(3)]
    for thread in asking:
        thread.start()
    served.wait_for("asked", 3)
    served.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    idle.request("GET", "/")
    assert idle.getresponse().read() == b"hello 127.0.0.1"
    for thread in asking:
        thread.join()
    assert [(status, text) for status, text, _ in told] == [(200, "hello 127.0.0.1")] * 3
    idle.close()
    served.process.wait(timeout=20)
    assert "seen" not in served.output()
