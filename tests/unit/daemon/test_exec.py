"""A command through the daemon: its stdin goes out while its output comes in, whatever way the body arrives."""

from __future__ import annotations

import asyncio
import io
import json
import threading

import pytest

from deployd.daemon import sockets
from deployd.domain.secret import Secret
from deployd.errors import HostError
from deployd.hosts.helper import Helper
from deployd.remote.connection import Daemon
from deployd.remote.exchange import exchange

PATH = "/v1/apps/shop/environments/production/exec"


@pytest.fixture
def hosts(monkeypatch):
    """A host that runs `cat`, `fail` and `wait`; what it was asked."""
    asked: list[tuple] = []

    def run(self, app, environment, argv, *, stdin, stdout, stderr, cancel=None):
        asked.append((self.name, app, environment, tuple(argv)))
        if argv[0] == "fail":
            raise HostError("there is no process", host=self.name, live="unchanged", fix="release it")
        if argv[0] == "wait":
            stdout.write(b"begun\n")
            assert cancel.wait(15)
            asked.append(("cancelled",))
            return 1
        read = getattr(stdin, "read1", stdin.read) if stdin else lambda _size: b""  # as the helper asks
        while data := read(65536):
            stdout.write(data)
            stdout.flush()
        stderr.write(b"done\n")
        return 3

    monkeypatch.setattr(Helper, "exec", run)
    return asked


def events(text: str) -> list[tuple[str, dict]]:
    blocks = [dict(line.split(": ", 1) for line in one.splitlines() if ": " in line) for one in text.split("\n\n")]
    return [(one["event"], json.loads(one["data"])) for one in blocks if "event" in one]


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_a_body_in_one_piece_or_in_many(frame, hosts, pieces):
    body = json.dumps({"host": "web1", "argv": ["cat", "-"], "stdin": True}).encode() + b"\nthe input"
    size = -(-len(body) // pieces)
    answer = frame.local.post(PATH, content=iter([body[n : n + size] for n in range(0, len(body), size)]))
    told = events(answer.text)
    assert told[-1] == ("end", {"result": 3, "error": None})
    assert [name for name, _ in told[:-1]].count("stderr") == 1
    assert hosts == [("web1", "shop", "production", ("cat", "-"))]
    entry = frame.daemon.store.audit.latest()[0]
    assert (entry.action, entry.outcome, entry.details) == ("exec", "done", {"host": "web1"})


@pytest.mark.parametrize(
    "body",
    [b"", b"no json\n", b'{"host": "../x", "argv": ["id"]}\n', b'{"host": "web1", "argv": []}\n', b"x" * 300_000],
)
def test_a_first_line_that_is_no_command_is_refused(frame, hosts, body):
    answer = frame.local.post(PATH, content=body)
    assert (answer.status_code, answer.json()["title"]) == (422, "request-invalid")
    assert hosts == []


def through(frame, do):
    """`do(daemon)` in a thread, against the API on a real socket."""
    token = frame.token("admin")["Authorization"].removeprefix("Bearer ")

    async def both():
        listening = sockets.listen_tcp("127.0.0.1:0")
        server = sockets.server(frame.app)
        serving = asyncio.create_task(server.serve([listening]))
        try:
            address = Daemon(url=f"http://127.0.0.1:{sockets.port_of(listening)}", token=Secret(token))
            return await asyncio.wait_for(asyncio.to_thread(do, address), 30)
        finally:
            server.end()
            await serving

    return asyncio.run(both())


class Slow(io.RawIOBase):
    """An input whose second half comes when the first has come back."""

    def __init__(self, seen: threading.Event) -> None:
        self._pieces = [b"first ", b"second", b""]
        self._seen = seen

    def read1(self, _size: int) -> bytes:
        piece = self._pieces.pop(0)
        if piece == b"second":
            assert self._seen.wait(15)
        return piece


class Seen(io.BytesIO):
    def __init__(self, seen: threading.Event) -> None:
        super().__init__()
        self._event = seen

    def write(self, data) -> int:
        self._event.set()
        return super().write(data)


def test_output_comes_back_before_the_input_has_ended(frame, hosts):
    seen = threading.Event()
    out, err = Seen(seen), io.BytesIO()
    head = {"host": "web1", "argv": ["cat"], "stdin": True}
    code = through(frame, lambda daemon: exchange(daemon, PATH, head, stdin=Slow(seen), stdout=out, stderr=err))
    assert (code, out.getvalue(), err.getvalue()) == (3, b"first second", b"done\n")


def test_a_large_input_and_none_at_all(frame, hosts):
    data = bytes(range(256)) * 20_000
    out = io.BytesIO()
    head = {"host": "web1", "argv": ["cat"], "stdin": True}
    assert (
        through(
            frame, lambda daemon: exchange(daemon, PATH, head, stdin=io.BytesIO(data), stdout=out, stderr=io.BytesIO())
        )
        == 3
    )
    assert out.getvalue() == data
    out = io.BytesIO()
    head["stdin"] = False
    assert through(frame, lambda daemon: exchange(daemon, PATH, head, stdin=None, stdout=out, stderr=io.BytesIO())) == 3
    assert out.getvalue() == b""


def test_a_host_that_refuses_is_raised_as_its_error(frame, hosts):
    head = {"host": "web1", "argv": ["fail"], "stdin": False}
    with pytest.raises(HostError) as caught:
        through(
            frame, lambda daemon: exchange(daemon, PATH, head, stdin=None, stdout=io.BytesIO(), stderr=io.BytesIO())
        )
    assert caught.value.what == "there is no process"
    assert frame.daemon.store.audit.latest()[0].outcome.startswith("failed (")


def test_who_leaves_ends_the_command(frame, hosts):
    class Leaves(io.BytesIO):
        def write(self, data) -> int:
            raise KeyboardInterrupt

    def leave(daemon):
        with pytest.raises(KeyboardInterrupt):
            exchange(daemon, PATH, {"host": "web1", "argv": ["wait"]}, stdin=None, stdout=Leaves(), stderr=io.BytesIO())
        deadline = threading.Event()
        for _ in range(200):
            if ("cancelled",) in hosts:
                return
            deadline.wait(0.05)

    through(frame, leave)
    assert ("cancelled",) in hosts
