"""A live app of one cell, asked through the web server as a browser would -> nothing, or an AssertionError a feature."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.nextcells import Cell

_BOUNDARY = "----WebKitFormBoundaryDeployd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. `gap` is how many seconds lay between the first and the last part of the body."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    gap: float

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode(errors="replace").replace("<!-- -->", "")

    def header(self, name: str) -> str:
        """A header, or nothing."""
        return self.headers.get(name) or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Asks one host. `cell` says how the app's addresses look."""

    address: str
    cell: Cell

    def page(self, path: str, **more: Any) -> Answer:
        """A page by its path in the app."""
        return self.ask(self.url(path), **more)

    def url(self, path: str) -> str:
        """A page's path: basePath before it, trailing slash behind it."""
        path, mark, query = path.partition("?")
        last = path.rpartition("/")[2]
        slash = "/" if self.cell.slash and not path.endswith("/") and "." not in last else ""
        bare = f"{self.cell.base}{path}{slash}"
        return ((bare.rstrip("/") if self.cell.base and not self.cell.slash else bare) or "/") + mark + query

    def ask(self, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """One request; names of headers have `_` for `-`."""
        connection = http.client.HTTPConnection(self.address, timeout=40)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body=body, headers={"Accept": "text/html,*/*", **named})
            answer = connection.getresponse()
            parts, times = [], []
            while part := answer.read1(65536):
                parts.append(part)
                times.append(time.monotonic())
            gap = times[-1] - times[0] if times else 0.0
            return Answer(status=answer.status, headers=answer.headers, body=b"".join(parts), gap=gap)
        finally:
            connection.close()

    def at(self, path: str) -> int:
        """The moment that a page shows."""
        answer = self.page(path)
        found = re.search(r"at=(\d+);", answer.text)
        assert found, (path, answer.status, answer.text[:300])
        return int(found[1])

    def changes(self, path: str, before: int) -> int:
        """Ask until a page shows another moment; returns that."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            now = self.at(path)
            if now != before:
                return now
            time.sleep(0.3)
        raise AssertionError(f"{path} still shows {before}")


def _has(answer: Answer, text: str, *, status: int = 200) -> None:
    assert answer.status == status, (answer.status, answer.text[:400])
    assert text in answer.text, answer.text[:400]


def _leads(answer: Answer, to: str, visitor: Visitor) -> None:
    """A redirect to a path of this very site, as a browser understands it."""
    assert answer.status in (301, 302, 303, 307, 308), (answer.status, answer.text[:200])
    where = urlsplit(answer.header("location"))
    assert where.netloc in ("", visitor.address), answer.header("location")
    assert where.path.rstrip("/") == to.rstrip("/"), answer.header("location")


def page(v: Visitor) -> None:
    """The home page, dynamic pages, pages that are not there."""
    _has(v.page("/"), "home of app" if v.cell.has_app else "home of pages")
    if v.cell.has_pages:
        _has(v.page("/p"), "home of pages")
    if v.cell.has_app:
        _has(v.page("/fixed/a"), "fixed a")
        assert v.page("/fixed/z").status == 404
    _has(v.page("/not/there"), "nothing here", status=404)


def dynamic(v: Visitor) -> None:
    """Pages with parameters: of the build, and made at the first request."""
    if v.cell.has_app:
        for slug in ("one", "two"):
            _has(v.page(f"/blog/{slug}"), f"post {slug}")
        _has(v.page("/gallery"), "side part")
        _has(v.page("/gallery/photo/7"), "photo 7")
        over = v.page("/gallery/photo/7?_rsc=x", RSC="1", Next_Url="/gallery", Accept="*/*")
        assert over.status in (200, 307)
    if v.cell.has_pages:
        for slug in ("one", "two"):
            _has(v.page(f"/p/blog/{slug}"), f"post {slug}")
        _has(v.page("/p/ssr?q=1"), f"rendered for={v.address};q=1;")
        _has(v.page("/p/later/9"), "loading")
        built = re.search(r'"buildId":"([^"]+)"', v.page("/p").text)
        assert built  # the browser asks for the data, and that makes the page
        assert (
            v.ask(f"{v.cell.base}/_next/data/{built[1]}{'/en' if v.cell.locales else ''}/p/later/9.json").status == 200
        )
        _until(lambda: "later 9" in v.page("/p/later/9").text)


def handlers(v: Visitor) -> None:
    """Route handlers and API routes, on Node.js and on the edge runtime; a large upload."""
    large = b"x" * 12_000_000
    if v.cell.has_app:
        assert json.loads(v.page("/api/hello/ada").body) == {"hello": "ada"}
        assert json.loads(v.page("/api/hello/ada", method="POST", body=large).body) == {"bytes": len(large)}
        _has(v.page("/api/edge"), "edge string")
        _has(v.page("/words"), "words of a file")
    if v.cell.has_pages:
        assert json.loads(v.page("/api/p/hello?name=ada").body) == {"hello": "ada"}
        assert json.loads(v.page("/api/p/raw", method="POST", body=large).body) == {"bytes": len(large)}
        _has(v.page("/api/p/edge"), "edge string")


def action(v: Visitor) -> None:
    """A server action: the form without JavaScript, and the call that React makes."""
    form = v.page("/action")
    found = re.search(r'name="(\$ACTION_ID_([0-9a-f]+))"', form.text)
    assert found, form.text[:600]
    fields = {found[1]: "", "number": "7"}
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in fields.items()
    ]
    answer = v.page(
        "/action", method="POST", body="".join([*parts, f"--{_BOUNDARY}--\r\n"]).encode(), Origin=f"http://{v.address}",
        Content_Type=f"multipart/form-data; boundary={_BOUNDARY}", Cookie="sum=1",
    )  # fmt: skip
    _leads(answer, v.cell.base + "/action/done", v)
    assert "sum=8" in answer.header("set-cookie")
    _has(v.page("/action/done", Cookie="sum=8"), f"sum=8;host={v.address};")
    code = _chunks(v, form.text)
    double = next((one for one in re.findall(r'\(?"([0-9a-f]{40,44})"', code) if one != found[2]), None)
    assert double, "no action in the page's code"
    called = v.page(
        "/action", method="POST", body=b"[21]", Next_Action=double, Accept="text/x-component", Origin=f"http://{v.address}",
        Content_Type="text/plain;charset=UTF-8",
    )  # fmt: skip
    assert (called.status, "42" in called.text) == (200, True), (called.status, called.text[:300])
    foreign = v.page("/action", method="POST", body=b"[21]", Next_Action=double, Origin="http://evil.test")
    assert foreign.status == 500


def regeneration(v: Visitor) -> None:
    """A page with a time to live changes by itself."""
    for path in [*(["/fresh"] if v.cell.has_app else []), *(["/p/fresh"] if v.cell.has_pages else [])]:
        v.changes(path, v.at(path))


def on_demand(v: Visitor) -> dict[str, int]:
    """Pages are made anew when the app's code asks for it; returns what they show then."""
    shown = {}
    if v.cell.has_app:
        before = v.at("/stock")
        assert v.at("/stock") == before
        assert v.page("/api/again?tag=stock").status == 200
        shown["/stock"] = v.changes("/stock", before)
    if v.cell.has_pages:
        before = v.at("/p/stock")
        said = v.page(f"/api/p/again?path={v.url('/p/stock')}")
        assert said.status == 200, said.text
        shown["/p/stock"] = v.changes("/p/stock", before)
    return shown


def early(v: Visitor) -> None:
    """Middleware (proxy): a rewrite, a redirect, an answer, a header; and the redirects and rewrites of next.config."""
    _has(v.page("/mw/rewrite"), "post one")
    _leads(v.page("/mw/redirect"), v.cell.base + "/landed", v)
    _has(v.page("/mw/answer"), "from the middleware", status=418)
    assert v.page("/landed").header("x-early") == "seen"
    _leads(v.page("/config/redirect"), v.cell.base + "/landed", v)
    _has(v.page("/config/rewrite"), "landed here")
    _has(v.ask("/elsewhere/x" + ("/" if v.cell.slash else "")), "ok")
    if v.cell.has_app:
        _leads(v.page("/away"), "/landed", v)
        assert v.page("/told").header("x-own") == "header"


def images(v: Visitor) -> None:
    """An image of a page comes smaller and as WebP or AVIF; images that are drawn, too."""
    home = v.page("/").text
    link = re.search(r'/[^"\s]*_next/image[^"\s]*', home)
    assert link, home[:600]
    answer = v.ask(link[0].replace("&amp;", "&"), Accept="image/avif,image/webp,image/*,*/*;q=0.8")
    assert answer.status == 200, (link[0], answer.text[:300])
    kind = "image/avif" if v.cell.major >= 15 else "image/webp"
    assert answer.header("content-type") == kind
    assert answer.body[8:12] == b"WEBP" if kind == "image/webp" else answer.body[4:8] == b"ftyp"
    original = v.ask(f"{v.cell.base}/photo.png")
    assert (original.status, original.body[:4]) == (200, b"\x89PNG")
    assert len(answer.body) < len(original.body) / 2
    hit = v.ask(link[0].replace("&amp;", "&"), Accept="image/avif,image/webp,image/*,*/*;q=0.8")
    assert hit.header("x-nextjs-cache") == "HIT", hit.header("x-nextjs-cache")
    if v.cell.has_app:
        drawn = re.search(r'property="og:image" content="http://shop.test([^"]+)"', home)
        for path in ([drawn[1].replace("&amp;", "&")] if drawn else []) + [v.url("/card")]:
            card = v.ask(path)
            if v.cell.slash and card.status == 308:  # 13 redirects its own images to a path with a slash
                card = v.ask(card.header("location"))
            assert (card.status, card.body[:4]) == (200, b"\x89PNG"), (path, card.status)
        assert drawn, home[:800]


def files(v: Visitor) -> None:
    """Files of `public`, generated ones, hashed ones; none that should not be there."""
    _has(v.ask(f"{v.cell.base}/file.txt"), "a public file")
    _has(v.ask(f"{v.cell.base}/with%20space.txt"), "with a space")
    if v.cell.has_app and v.cell.server:
        _has(v.page("/sitemap.xml"), "<loc>http://shop.test/</loc>")
        _has(v.page("/robots.txt"), "User-Agent: *")
        _has(v.page("/manifest.webmanifest"), '"shop"')
    found = list(hashed(v, v.page("/").text))
    assert len(found) > 2, found
    for path in found:
        answer = v.ask(path)
        assert answer.status == 200, path
        assert "immutable" in answer.header("cache-control"), path
        assert "text/html" not in answer.header("content-type"), path
        assert v.ask(path.partition("?")[0] + ".map").status == 404, path
    for path in ("/.env", "/.npmrc", "/package.json", "/.next/BUILD_ID", "/server.js", "/..%2f.env"):
        assert v.ask(v.cell.base + path).status in (400, 404, 308), path


def streams(v: Visitor) -> None:
    """The first part of an answer comes before the last is there."""
    for path, text in [
        *([("/api/stream", "first second last"), ("/slow", "late part")] if v.cell.has_app else []),
        *([("/api/p/stream", "first second last")] if v.cell.has_pages else []),
    ]:
        for accepted in ("identity", "gzip"):
            answer = v.page(path, Accept_Encoding=accepted)
            assert answer.status == 200
            assert answer.gap > 0.25, (path, accepted, answer.gap)
            assert accepted == "gzip" or text in answer.text


def settings(v: Visitor) -> None:
    """Variables of .env for browsers are baked in, instrumentation ran, draft mode and locales work, slashes are right."""
    if v.cell.has_app:
        assert json.loads(v.page("/told").body) == {"instrumented": True, "baked": "baked"}
        assert "draft=false" in v.page("/drafted").text
        cookie = v.page("/draft").header("set-cookie").partition(";")[0]
        _has(v.page("/drafted", Cookie=cookie), "draft=true")
    if v.cell.locales:
        _has(v.page("/de/p"), 'lang="de"')
        _leads(v.ask(v.url("/"), Accept_Language="de"), v.cell.base + "/de", v)
        data = re.search(r'"buildId":"([^"]+)"', v.page("/p").text)
        assert data
        assert v.ask(f"{v.cell.base}/_next/data/{data[1]}/de/p/ssr.json?q=2").status == 200
    other = v.ask(v.cell.base + ("/landed" if v.cell.slash else "/landed/"))
    _leads(other, v.cell.base + "/landed", v)
    if v.cell.base:
        assert v.ask("/").status == 404


def own_server(v: Visitor) -> None:
    """The app's own server: a path of its own, and a WebSocket."""
    _has(v.ask("/own"), "of my own server")
    key = base64.b64encode(os.urandom(16)).decode()
    with socket.create_connection((v.address, 80), timeout=20) as wire:
        wire.sendall(
            f"GET /socket HTTP/1.1\r\nHost: {v.address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        heard = b""
        while b"hello" not in heard and (part := wire.recv(4096)):
            heard += part
        assert heard.startswith(b"HTTP/1.1 101"), heard
        assert heard.endswith(b"\x81\x05hello"), heard


def checks(cell: Cell) -> list[Callable[[Visitor], object]]:
    """What is asked of a live app of a cell, but for what needs a restart or a second release."""
    if not cell.server:
        return [page, files]
    found: list[Callable[[Visitor], object]] = [
        page,
        dynamic,
        handlers,
        regeneration,
        early,
        images,
        files,
        streams,
        settings,
    ]
    return [*found, *([action] if cell.has_app else []), *([own_server] if cell.output == "custom" else [])]


def hashed(v: Visitor, text: str) -> Iterator[str]:
    """Scripts, styles and the like that a page names."""
    found = re.findall(rf'(?:src|href)="({re.escape(v.cell.base)}/_next/static/[^"]+)"', text)
    yield from dict.fromkeys(path.replace("&amp;", "&") for path in found)


def _chunks(v: Visitor, text: str) -> str:
    return "\n".join(v.ask(path).text for path in hashed(v, text) if path.partition("?")[0].endswith(".js"))


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)
