"""Between visitor and app on the real web server: streams, upgrades, retries, large heads, errors, idle connections."""

from __future__ import annotations

import http.server
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.fakehost import SERVERS, A, B, UnixServer
from tests.contract.test_visitors import go_live, who
from tests.contract.test_web_app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.fakehost import FakeHost
    from tests.contract.realweb import RealWeb

WAIT = 15.0


class Peculiar(http.server.BaseHTTPRequestHandler):
    """An app whose answers come in pieces, change their protocol, or do not come. `server.said` is what it met."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        self.server.said.append(self.path)
        if self.path.startswith("/die"):
            self.close_connection = True
            return
        if self.path == "/stream":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"b\r\ndata: one\n\n\r\n")
            self.server.go_on.wait(WAIT)
            self.wfile.write(b"b\r\ndata: two\n\n\r\n0\r\n\r\n")
            return
        if self.headers.get("Upgrade") == "websocket":
            self._echo()
            return
        self._answer(b"fine")

    def handle_expect_100(self) -> bool:
        """A body that is too large is refused before it is sent."""
        if self.path == "/refuse":
            self.send_error(413)
            self.close_connection = True
            return False
        return super().handle_expect_100()

    def do_POST(self) -> None:
        self.server.said.append(self.path)
        if self.path.startswith("/die"):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.close_connection = True
            return
        self.server.said.append(self.rfile.read(5).decode())
        self.server.go_on.set()
        self.rfile.read(5)
        self._answer(b"whole")

    def _echo(self) -> None:
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", "x")):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        for said in self.rfile:  # whole lines: the web server may hand on a message's first byte by itself
            self.connection.sendall(b"echo " + said)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "web"

    def log_message(self, *_: Any) -> None:
        return


class PeculiarServer(UnixServer):
    """One release's server."""

    def __init__(self, path: str) -> None:
        super().__init__(path, Peculiar)
        self.said: list[str] = []
        self.go_on = threading.Event()

    def handle_error(self, *_: Any) -> None:
        return


def peculiar(host: FakeHost, release: str) -> PeculiarServer:
    path = host.root / "run/deployd/shop-production" / f"{release}.sock"
    path.unlink()
    server = PeculiarServer(str(path))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    SERVERS.append(server)
    return server


@pytest.fixture
def served(host: FakeHost, web: RealWeb) -> PeculiarServer:
    go_live(host, A, app("one"))
    made = peculiar(host, A)
    web.start()
    return made


class Line:
    """A connection on which a test says each byte itself."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT)

    def say(self, text: str) -> None:
        self.socket.sendall(text.replace("\n", "\r\n").encode())

    def until(self, wanted: bytes) -> bytes:
        """What comes, until `wanted` was among it."""
        data = b""
        while wanted not in data:
            more = self.socket.recv(1 << 16)
            assert more, data
            data += more
        return data

    def is_closed(self) -> bool:
        """Whether the other side closes it, or has."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


@pytest.fixture
def line(web: RealWeb, served: PeculiarServer) -> Iterator[Line]:
    assert served.said == []
    made = Line(web.port)
    yield made
    made.socket.close()


@pytest.mark.parametrize("encoding", ["", "Accept-Encoding: gzip, br, zstd\n"])
def test_a_stream_arrives_as_it_is_written(served: PeculiarServer, line: Line, encoding: str) -> None:
    line.say(f"GET /stream HTTP/1.1\nHost: x\n{encoding}\n")
    first = line.until(b"data: one")  # the app waits until this has arrived
    assert b"data: two" not in first
    served.go_on.set()
    line.until(b"data: two")


def test_a_body_reaches_the_app_as_it_is_sent(served: PeculiarServer, line: Line) -> None:
    line.say("POST /up HTTP/1.1\nHost: x\nContent-Length: 10\n\nfirst")
    assert served.go_on.wait(WAIT)
    assert served.said == ["/up", "first"]
    line.say("other")
    assert line.until(b"whole").startswith(b"HTTP/1.1 200")


UPGRADE = "GET /ws HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhl\n\n"


def test_an_app_may_refuse_a_body_that_it_does_not_read(served: PeculiarServer, web: RealWeb) -> None:
    """The visitor who asked first hears why, and not that something went wrong on the way."""
    for path, status, size in (("/refuse", "413", 20_000_000), ("/take", "200", 10)):
        done = subprocess.run(
            ["curl", "--silent", "--max-time", "30", "--header", "Expect: 100-continue", "--data-binary", "@-",
             "--output", "/dev/null", "--write-out", "%{http_code}", f"http://127.0.0.1:{web.port}{path}"],
            input=b"x" * size, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout.decode() == status, done.stderr
    assert "/refuse" not in served.said


def test_a_websocket_stays_with_its_release_until_that_ends(
    host: FakeHost, web: RealWeb, served: PeculiarServer, line: Line
) -> None:
    line.say(UPGRADE)
    line.until(b"\r\n\r\n")
    line.say("hello\n")
    assert line.until(b"echo hello")
    go_live(host, B, app("two"))
    new = peculiar(host, B)
    assert who(web.ask("/page")) == B
    line.say("again\n")
    assert line.until(b"echo again")
    assert "/ws" not in new.said
    later = Line(web.port)
    later.say(UPGRADE)
    later.until(b"\r\n\r\n")
    assert "/ws" in new.said
    later.socket.close()
    line.socket.shutdown(socket.SHUT_WR)  # the app's end of it closes too, as it does when the old release is drained
    assert line.is_closed()


def test_only_what_may_be_repeated_is_repeated_and_not_for_long(web: RealWeb, served: PeculiarServer) -> None:
    """A request that kills the server must not kill one instance after the other."""
    posted = web.ask("/die", "POST", b"pay once")
    assert (posted.status, served.said) == (502, ["/die"])
    served.said.clear()
    assert web.ask("/die").status == 502
    assert 2 <= len(served.said) <= 4


def test_what_the_web_server_says_itself_names_no_software(
    host: FakeHost, web: RealWeb, served: PeculiarServer
) -> None:
    failed = web.ask("/die")
    assert (failed.status, failed.headers["cache-control"]) == (502, "no-store")
    assert "<h1>502</h1>" in failed.text
    assert "server" not in failed.headers
    assert "via" not in web.ask("/").headers


def test_a_head_of_a_megabyte_is_refused_and_hurts_nobody(web: RealWeb, served: PeculiarServer, line: Line) -> None:
    line.say("GET / HTTP/1.1\nHost: x\nX-Long: ")
    try:
        for _ in range(64):
            line.socket.sendall(b"x" * (1 << 15))
        line.say("\n\n")
        answer = line.until(b"\r\n")
    except (ConnectionResetError, BrokenPipeError):
        answer = b"HTTP/1.1 431 "  # it did not wait for the end of it
    assert answer.split()[1] in (b"431", b"400")
    assert served.said == []
    assert web.ask("/").text == "fine"
    assert web.ask("/", X_Quite_Long="y" * 12_000).text == "fine"


UNCLEAR = [
    "GET / HTTP/1.1\n\n", "GET / HTTP/1.1\nHost: a\nHost: b\n\n", "GET / HTTP/1.1\nHost: a b\n\n",
    "POST / HTTP/1.1\nHost: x\nContent-Length: 3\nContent-Length: 5\n\nabcde",
    "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked, identity\n\n0\n\n",
    "POST / HTTP/1.1\nHost: x\nTransfer-Encoding : chunked\n\n0\n\n", "GET / HTTP/1.1\nHost: x\nX: a\x00b\n\n",
    "GE\x01T / HTTP/1.1\nHost: x\n\n", "GET  / HTTP/1.1\nHost: x\n\n",
]  # fmt: skip


def test_heads_that_two_programs_may_read_differently_are_refused(web: RealWeb, served: PeculiarServer) -> None:
    for head in UNCLEAR:
        one = Line(web.port)
        try:
            one.say(head)
            assert one.until(b"\r\n").split()[1] in (b"400", b"501"), head
        finally:
            one.socket.close()
    assert served.said == []


def test_connections_that_say_nothing_cost_the_others_nothing(web: RealWeb, served: PeculiarServer) -> None:
    idle = [socket.create_connection(("127.0.0.1", web.port)) for _ in range(2000)]
    try:
        assert [web.ask("/").text for _ in range(20)] == ["fine"] * 20
    finally:
        for one in idle:
            one.close()


def test_pages_of_ones_own_for_what_the_app_cannot_answer(host: FakeHost, web: RealWeb) -> None:
    pages = {".error-pages/502.html": b"<h1>our 502</h1>", ".error-pages/error.html": b"<h1>ours</h1>"}
    host.configure(instances=1, domains=[], port=web.port, body=100, preview={"domain": "preview.test"})
    go_live(host, A, app("one").with_files(**pages))
    peculiar(host, A)
    web.start()
    for method, body in (("GET", None), ("POST", b"x")):
        failed = web.ask("/die", method, body, If_None_Match="*", Range="bytes=0-1")
        assert (failed.status, failed.text) == (502, "<h1>our 502</h1>")
        assert (failed.headers["content-type"], failed.headers["cache-control"]) == (
            "text/html; charset=utf-8",
            "no-store",
        )
        assert "etag" not in failed.headers
    assert web.ask("/", "POST", b"x" * 101).text == "<h1>ours</h1>"
    preview = web.ask("/die", Host=f"{A}.shop.preview.test")
    assert (preview.status, preview.text) == (502, "<h1>our 502</h1>")
    assert "<h1>404</h1>" in web.ask("/", Host="nothing.shop.preview.test").text
    assert web.ask("/.error-pages/502.html").text == "fine"  # the app's own address, as any other
    go_live(host, B, app("two"))
    peculiar(host, B)
    assert "<h1>502</h1>" in web.ask("/die").text
    assert web.ask(f"/die?dpl={A}").text == "<h1>our 502</h1>"
