"""What an app did not compress is compressed on its way to a browser; what it did, and what may not be, stays as it is."""

from __future__ import annotations

import gzip
import http.server
import socket
import threading
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.fakehost import SERVERS, A, UnixServer
from tests.contract.test_web_app import app

if TYPE_CHECKING:
    from tests.contract.fakehost import FakeHost
    from tests.contract.realweb import RealWeb

PAGE = b"<!doctype html><p>" + b"the same again " * 400
KINDS = {
    "/page": {"Content-Type": "text/html; charset=utf-8", "ETag": '"page1"'},
    "/data": {"Content-Type": "application/json"},
    "/rsc": {"Content-Type": "text/x-component"},
    "/picture": {"Content-Type": "image/png"},
    "/untold": {"Content-Type": "application/octet-stream"},
    "/as-it-is": {"Content-Type": "text/html", "Cache-Control": "public, no-transform"},
    "/packed": {"Content-Type": "text/html", "Content-Encoding": "br"},
}


class Plain(http.server.BaseHTTPRequestHandler):
    """An app that compresses nothing. `/pieces` sends a second piece when the test says so."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        path, _, _ = self.path.partition("?")
        if self.headers.get("If-None-Match") == '"page1"':
            return self._answer(304, {"ETag": '"page1"'}, b"")
        if path == "/pieces":
            return self._pieces()
        if path == "/small":
            return self._answer(200, {"Content-Type": "text/html"}, PAGE[:1000])
        if self.headers.get("Range"):
            told = {**KINDS["/page"], "Content-Range": f"bytes 0-1999/{len(PAGE)}"}
            return self._answer(206, told, PAGE[:2000])
        return self._answer(200, KINDS[path], PAGE)

    do_HEAD = do_GET  # noqa: N815 - its name is the library's

    def _pieces(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (PAGE, b"<p>the end"):
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.server.go_on.wait(15)
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != http.HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def address_string(self) -> str:
        return "web"

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def plain(host: FakeHost, web: RealWeb) -> RealWeb:
    host.live(A, app("one"))
    path = host.root / "run/deployd/shop-production" / f"{A}.sock"
    path.unlink()
    server: Any = UnixServer(str(path), Plain)
    server.go_on = threading.Event()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    SERVERS.append(server)
    web.start()
    return web


def test_texts_are_compressed_for_those_who_take_it(plain: RealWeb) -> None:
    for path in ("/page", "/data", "/rsc"):
        told = plain.ask(path, Accept_Encoding="gzip, deflate, br")
        assert (told.headers["content-encoding"], gzip.decompress(told.body)) == ("gzip", PAGE)
        assert told.headers["vary"] == "Accept-Encoding"
        assert len(told.body) < len(PAGE) / 10
    assert plain.ask("/page", Accept_Encoding="gzip, br, zstd").headers["content-encoding"] == "zstd"
    for refused in ({}, {"Accept_Encoding": "br"}, {"Accept_Encoding": "gzip;q=0"}):
        told = plain.ask("/page", **refused)
        assert ("content-encoding" in told.headers, told.body) == (False, PAGE)
    head = plain.ask("/page", method="HEAD", Accept_Encoding="gzip")
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize("path", ["/picture", "/untold", "/as-it-is", "/packed", "/small"])
def test_what_is_compressed_or_small_or_not_to_be_changed_stays(plain: RealWeb, path: str) -> None:
    told = plain.ask(path, Accept_Encoding="gzip, zstd")
    assert told.headers.get("content-encoding") == ("br" if path == "/packed" else None)
    assert told.body == (PAGE[:1000] if path == "/small" else PAGE)


def test_a_visitors_copy_is_recognised_and_a_part_is_of_the_whole(plain: RealWeb) -> None:
    first = plain.ask("/page", Accept_Encoding="gzip")
    again = plain.ask("/page", Accept_Encoding="gzip", If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    part = plain.ask("/page", Accept_Encoding="gzip", Range="bytes=0-1999")
    assert (part.status, part.body, "content-encoding" in part.headers) == (206, PAGE[:2000], False)


def test_a_page_that_comes_in_pieces_is_seen_piece_by_piece(plain: RealWeb) -> None:
    unpack = zlib.decompressobj(31)
    with socket.create_connection(("127.0.0.1", plain.port), 15) as asked:
        asked.sendall(b"GET /pieces HTTP/1.0\r\nHost: shop.test\r\nAccept-Encoding: gzip\r\n\r\n")
        seen = b""
        while b"\r\n\r\n" not in seen:
            seen += asked.recv(65536)
        head, _, body = seen.partition(b"\r\n\r\n")
        assert b"Content-Encoding: gzip" in head
        page = unpack.decompress(body)
        while len(page) < len(PAGE):  # before the app has said more
            page += unpack.decompress(asked.recv(65536))
        server: Any = SERVERS[-1]
        server.go_on.set()
        while more := asked.recv(65536):
            page += unpack.decompress(more)
    assert page == PAGE + b"<p>the end"
