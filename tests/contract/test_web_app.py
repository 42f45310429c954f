"""Apps with a server behind the real web server: what is served past them, what reaches them, and what never does."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.fakehost import SERVERS, A, B, Package, UnixServer

if TYPE_CHECKING:
    from tests.contract.fakehost import FakeHost
    from tests.contract.realweb import RealWeb


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with what arrived; `/_next/static` is 404 but for `mine.js`, which has a header of the app's."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        missing = self.path.startswith("/_next/static") and "mine" not in self.path
        said = b"no such asset" if missing else json.dumps(
            {"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}, "body": len(body)}
        ).encode()  # fmt: skip
        self.send_response(404 if missing else 200)
        self.send_header("X-App", "yes")
        if self.path.startswith("/away?"):
            self.send_header("Location", self.path.partition("?")[2])
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)

    do_POST = do_HEAD = do_GET  # noqa: N815 - its names are the library's

    def address_string(self) -> str:
        return "web"

    def log_message(self, *_: Any) -> None:
        return


def echo(host: FakeHost, release: str, handler: type[Echo] = Echo) -> None:
    path = host.root / "run/deployd/shop-production" / f"{release}.sock"
    path.unlink()
    server = UnixServer(str(path), handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] - visitors that leave early
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    SERVERS.append(server)


def app(version: str, **fields: Any) -> Package:
    files = {
        "server.js": b"serve()", ".deployd/listen.cjs": b"listen()", f".next/static/{version}.js": version.encode(),
        "public/robots.txt": f"robots {version}".encode(), ".next/server/secret.json": b"canary",
    }  # fmt: skip
    return Package(files, **{"public": {"/": "public"}, **fields})


@pytest.fixture
def live(host: FakeHost, web: RealWeb) -> RealWeb:
    host.live(A, app("one"))
    echo(host, A)
    web.start()
    return web


def test_files_are_served_past_the_app(live: RealWeb, host: FakeHost) -> None:
    assert live.ask("/_next/static/one.js").headers["cache-control"] == "public, max-age=31536000, immutable"
    robots = live.ask("/robots.txt")
    assert (robots.text, robots.headers["cache-control"]) == ("robots one", "public, max-age=0")
    assert live.ask("/robots.txt", If_None_Match=robots.headers["etag"]).status == 304
    host.live(B, app("two"))
    echo(host, B)
    assert [live.ask(f"/_next/static/{name}.js").text for name in ("one", "two")] == ["one", "two"]
    assert live.ask("/robots.txt").text == "robots two"


@pytest.mark.parametrize("rest", ["server.js", ".next/server/secret.json", ".deployd/manifest.json", "state.json"])
def test_no_path_leads_out_of_what_is_served(live: RealWeb, rest: str) -> None:
    """Such a path reaches the app, or nobody: never a file beside the assets."""
    for up in ("..%2f", "%2e%2e/", "..%2F..%2f", "../", "..%2f..%2f..%2f", "_next/static/..%2f..%2f", "%5c..%5c..%5c"):
        for prefix in ("/", "/_next/static/", "/_next/static/..%2f"):
            for more in ("", f"releases/{A}/"):
                answer = live.ask(f"{prefix}{up}{more}{rest}")
                assert b"canary" not in answer.body
                assert b"serve()" not in answer.body
                assert b'"epoch"' not in answer.body
                assert b'"sha256"' not in answer.body
                assert answer.status == 400 or answer.headers.get("x-app") == "yes", answer


def test_what_a_visitor_claims_does_not_reach_the_app(live: RealWeb) -> None:
    forged = {
        "X_Forwarded_For": "6.6.6.6", "X_Forwarded_Host": "evil.test", "X_Forwarded_Proto": "https",
        "X_Forwarded_Port": "1", "X_Forwarded_Prefix": "/x", "Forwarded": "for=6.6.6.6", "X_Real_Ip": "6.6.6.6",
        "X_Middleware_Subrequest": "middleware", "X_Middleware_Subrequest_Id": "1", "X_Original_Url": "/admin",
        "X_Invoke_Path": "/admin", "X_Now_Route_Matches": "1", "X_Matched_Path": "/admin", "X_Middleware_Rewrite": "/a",
        "Next_Resume": "1",
    }  # fmt: skip

    seen = json.loads(live.ask("/page", X_Middleware_Prefetch="1", Cookie="a=b", Host="shop.test:81", **forged).body)

    headers = seen["headers"]
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-real-ip"] == "127.0.0.1"
    assert headers["x-forwarded-host"] == headers["host"] == "shop.test:81"
    assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("http", "81")
    assert (headers["x-middleware-prefetch"], headers["cookie"]) == ("1", "a=b")
    ours = {"x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip"}
    assert {name.lower().replace("_", "-") for name in forged} & set(headers) == ours
    assert not [value for value in headers.values() if "evil" in value or "6.6.6.6" in value or "admin" in value]


@pytest.mark.parametrize(
    ("said", "arrives"),
    [
        ("http://localhost:3000/landed?a=1#b", "/landed?a=1#b"), ("https://localhost:3000/", "/"), ("/landed", "/landed"),
        ("https://else.test/a", "https://else.test/a"), ("http://localhost:4000/a", "http://localhost:4000/a"),
        ("https://else.test/?next=http://localhost:3000/a", "https://else.test/?next=http://localhost:3000/a"),
    ],
)  # fmt: skip
def test_a_redirect_to_the_apps_own_address_leads_to_where_the_visitor_is(
    live: RealWeb, said: str, arrives: str
) -> None:
    """`new URL("/landed", request.url)` in a route handler of Next.js is what the server itself listens on."""
    assert live.ask(f"/away?{said}").headers["location"] == arrives


def test_an_app_with_headers_on_its_assets_is_asked_first(host: FakeHost, web: RealWeb) -> None:
    """Its own chunk comes from it; one of an earlier release, which it does not know, from the union."""
    host.live(A, app("one", ask_first=True))
    host.live(B, app("mine", ask_first=True))
    echo(host, B)
    web.start()

    own = web.ask("/_next/static/mine.js")
    assert (own.headers["x-app"], json.loads(own.body)["path"]) == ("yes", "/_next/static/mine.js")
    old = web.ask("/_next/static/one.js")
    assert (old.status, old.text, old.headers["cache-control"]) == (
        200, "one", "public, max-age=31536000, immutable",
    )  # fmt: skip
    assert web.ask("/_next/static/one.js", "HEAD").status == 200
    assert web.ask("/_next/static/one.js", If_None_Match=old.headers["etag"]).status == 304
    gone = web.ask("/_next/static/nobodys.js")
    assert (gone.status, gone.text, gone.headers["x-app"]) == (404, "no such asset", "yes")
    posted = web.ask("/_next/static/one.js", "POST", b"x")
    assert (posted.status, posted.text) == (404, "no such asset")


def test_bodies_have_a_limit_where_one_is_set(host: FakeHost, web: RealWeb) -> None:
    host.configure(instances=1, domains=[], port=web.port, body=1000)
    host.live(A, app("one"))
    echo(host, A)
    web.start()

    assert json.loads(web.ask("/", "POST", b"x" * 1000).body)["body"] == 1000
    assert web.ask("/", "POST", b"x" * 1001).status == 413


def test_health_says_whether_there_is_a_release_and_nothing_else(host: FakeHost, web: RealWeb) -> None:
    web.start()
    nothing = web.ask("/.deployd/health")
    assert (nothing.status, nothing.text) == (503, "not ready")
    page = web.ask("/")
    assert (page.status, page.headers["cache-control"]) == (503, "no-store")
    assert "Nothing is live here yet" in page.text
    host.live(A, app("one"))

    healthy = web.ask("/.deployd/health")
    assert (healthy.status, healthy.text, healthy.headers["cache-control"]) == (200, "ok", "no-store")
    assert "x-deployd-release" not in healthy.headers
    (host.root / "run/deployd-web/leaving").touch()  # the web server is about to end, and tells a load balancer
    assert web.ask("/.deployd/health").status == 503
    (host.root / "run/deployd-web/leaving").unlink()

    for wanted, drained in (({}, ["host"]), ({"app": "shop", "environment": "production"}, ["host", "app"])):
        assert host.ok("drain", doc={"on": True, **wanted})["drained"] == drained
        assert web.ask("/.deployd/health").status == 503
        assert web.ask("/robots.txt").status == 200, "only a load balancer is told"
    host.ok("drain", doc={"on": False})
    assert web.ask("/.deployd/health").status == 503, "the app alone is drained still"
    by_app = {"app": "shop", "environment": "production"}
    assert host.ok("drain", doc={"on": True, "by": "rollout", **by_app})["drained"] == ["app", "rollout"]
    assert host.ok("drain", doc={"on": False, **by_app})["drained"] == ["rollout"]
    assert web.ask("/.deployd/health").status == 503
    gone = host.ok("drain", doc={"on": False, "by": "rollout", **by_app})
    assert (gone["drained"], gone["changed"], gone["open"]) == ([], True, 0)
    assert web.ask("/.deployd/health").status == 200
    assert web.ask("/robots.txt").text == "robots one"


def test_slow_and_idle_visitors_stop_nobody(live: RealWeb) -> None:
    """Connections that say nothing, half a head, or half a body: others are answered at once."""
    slow = [socket.create_connection(("127.0.0.1", live.port)) for _ in range(400)]
    try:
        for number, one in enumerate(slow):
            one.sendall((b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")[
                number % 40 if number % 40 < 3 else 0
            ])  # fmt: skip
        started = time.monotonic()
        assert [live.ask("/robots.txt").status for _ in range(20)] == [200] * 20
        assert live.ask("/").status == 200
        assert time.monotonic() - started < 10
    finally:
        for one in slow:
            one.close()


def test_a_hashed_file_is_given_out_before_all_else_and_not_in_maintenance(live: RealWeb, host: FakeHost) -> None:
    chunk = "/_next/static/chunks/pages/main-1a2b.js"
    files = {
        "server.js": b"serve()", ".deployd/listen.cjs": b"listen()", f".{chunk.replace('/_next', 'next')}": b"js" * 900,
        f".{chunk.replace('/_next', 'next')}.br": b"brotli",
    }  # fmt: skip
    host.live(B, Package(files))
    echo(host, B)
    answer = live.ask(chunk, accept_encoding="gzip, deflate, br, zstd")
    assert (answer.status, answer.body, answer.headers["content-encoding"]) == (200, b"brotli", "br")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert not {"x-deployd-release", "server", "last-modified"} & answer.headers.keys()
    assert live.ask(chunk, If_None_Match=answer.headers["etag"], accept_encoding="br").status == 304
    assert live.ask(chunk, Range="bytes=0-1").headers["content-range"] == "bytes 0-1/1800"
    assert live.ask("/_next/static/one.js").text == "one"  # the release before's, by the union
    assert live.ask(f"{chunk}/").status == 404
    assert live.ask("/_next/static/chunks/..%2f..%2f..%2f..%2fserver.js").status == 404
    missing = live.ask("/_next/static/chunks/missing.js")
    assert (missing.status, missing.text, missing.headers["x-deployd-release"]) == (404, "no such asset", B)
    assert "cache-control" not in missing.headers
    apps_own = live.ask("/proxied/_nuxt/entry.js")  # looks like one, and is a page of the app's
    assert (apps_own.status, apps_own.headers["x-deployd-release"]) == (200, B)
    assert not {"cache-control", "server"} & apps_own.headers.keys()
    host.ok("maintenance", "shop", "production", doc={"on": True})
    assert live.ask(chunk).status == 503
    host.ok("maintenance", "shop", "production", doc={"on": False})
    assert live.ask(chunk).status == 200
