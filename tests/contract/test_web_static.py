"""Static sites on the real helper and the real web server: addresses, headers, pages for what is missing, the flip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.fakehost import A, B, C, Package

if TYPE_CHECKING:
    from tests.contract.fakehost import FakeHost
    from tests.contract.realweb import RealWeb

APP = ("shop", "production")
PROBE: dict[str, Any] = {"path": "/", "timeout": 3, "interval": 0.05, "successes": 1, "warm": ["/about"]}
LONG = b"<p>" + b"a page that is worth its while. " * 200

PAGES = {
    "index.html": b"home", "about.html": b"about", "blog/index.html": b"blog", "blog/first.html": b"first",
    "404.html": b"nothing here", "a b.html": b"space", "[slug].html": b"brackets", "100%.html": b"percent",
    "q?.html": b"question", "\u00fc/index.html": b"umlaut", "a+b.txt": b"plus", "%41.txt": b"not A", "long.html": LONG,
    "long.html.br": b"squeezed", "robots.txt": b"robots", ".well-known/security.txt": b"contact",
    "assets/app-1a2b.js": b"app()", "app.webmanifest": b"{}", "empty/nothing.txt": b"",
}  # fmt: skip


def site(version: str = "", *, slash: bool = False, fallback: str | None = None, **more: bytes) -> Package:
    """A static site; `version` is on its pages."""
    pages = {**PAGES, **more}
    if version:
        pages |= {"index.html": f"home {version}".encode(), f"assets/app-{version}.js": version.encode()}
    static = {"folder": "site", "trailing_slash": slash, "not_found": "404.html", "fallback": fallback}
    return Package(
        {f"site/{name}": data for name, data in pages.items()},
        entry="", static=static, writable={}, assets={"/assets": "site/assets"},
    )  # fmt: skip


@pytest.fixture
def live(host: FakeHost, web: RealWeb) -> RealWeb:
    host.live(A, site())
    web.start()
    return web


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/", "home"), ("/index.html", "home"), ("/about", "about"), ("/about.html", "about"), ("/about?x=1", "about"),
        ("/blog", "blog"), ("/blog/", "blog"), ("/blog/first", "first"), ("/a%20b", "space"), ("/a+b.txt", "plus"),
        ("/%5Bslug%5D", "brackets"), ("/[slug].html", "brackets"), ("/100%25", "percent"), ("/q%3F", "question"),
        ("/%C3%BC/", "umlaut"), ("/%C3%BC", "umlaut"), ("/%2541.txt", "not A"), ("/robots.txt", "robots"),
        ("/.well-known/security.txt", "contact"), ("/empty/nothing.txt", ""), ("/blog/../about", "about"),
    ],
)  # fmt: skip
def test_addresses(live: RealWeb, path: str, text: str) -> None:
    answer = live.ask(path)

    assert (answer.status, answer.text) == (200, text)
    assert answer.headers["x-deployd-release"] == A


@pytest.mark.parametrize(
    "path",
    [
        "/nothing", "/about/more", "/empty", "/empty/", "/assets", "/assets/", "/.deployd/id", "/.deployd/static/site/",
        "/%2e%2e/.deployd/id", "/../.deployd/manifest.json", "/..%2f..%2fstate.json", "/%2e%2e/%2e%2e/%2e%2e/state.json",
        "/about.html/", "/%00", "/a%00.html", "/site/index.html", "/robots.txt/", "/*.html", "/%5Babout%5D", "/abou?.html",
    ],
)  # fmt: skip
def test_what_is_not_there(live: RealWeb, path: str) -> None:
    answer = live.ask(path)

    assert answer.status in {404, 400}, answer
    assert answer.status == 400 or answer.text == "nothing here"
    assert "immutable" not in answer.headers.get("cache-control", "")


def test_headers_and_conditions(live: RealWeb) -> None:
    page = live.ask("/about")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    assert "last-modified" not in page.headers
    assert "server" not in page.headers
    again = live.ask("/about", If_None_Match=page.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert live.ask("/about", If_Modified_Since="Sat, 21 Nov 2037 00:00:00 GMT").status == 200

    asset = live.ask("/assets/app-1a2b.js")
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert live.ask("/assets/app-1a2b.js", If_None_Match=asset.headers["etag"]).status == 304
    assert live.ask("/app.webmanifest").headers["content-type"] == "application/manifest+json"

    head = live.ask("/about", "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "5")
    part = live.ask("/robots.txt", Range="bytes=1-3")
    assert (part.status, part.text, part.headers["content-range"]) == (206, "obo", "bytes 1-3/6")
    assert live.ask("/robots.txt", Range="bytes=99-").status == 416
    for method in ("POST", "PUT", "DELETE"):
        refused = live.ask("/about", method, b"")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
    lost = live.ask("/nothing", If_None_Match="*", Range="bytes=0-1")
    assert (lost.status, lost.text, lost.headers["cache-control"]) == (404, "nothing here", "no-cache")
    assert live.ask("/nothing", "HEAD").body == b""


def test_what_was_compressed_before_is_sent(live: RealWeb) -> None:
    """The sibling is taken when the browser takes it; what has none is compressed on the way."""
    squeezed = live.ask("/long", Accept_Encoding="gzip, br")
    assert (squeezed.headers["content-encoding"], squeezed.body) == ("br", b"squeezed")
    assert squeezed.headers["content-type"] == "text/html; charset=utf-8"
    assert "Accept-Encoding" in squeezed.headers["vary"]
    plain, gzipped = live.ask("/long"), live.ask("/long", Accept_Encoding="gzip")
    assert plain.body == LONG
    assert gzipped.headers["content-encoding"] == "gzip"
    assert len(gzipped.body) < len(LONG) / 4
    assert len({plain.headers["etag"], squeezed.headers["etag"], gzipped.headers["etag"]}) == 3
    assert live.ask("/long", Accept_Encoding="br", If_None_Match=squeezed.headers["etag"]).status == 304


def test_slashes_lead_to_the_one_address(live: RealWeb) -> None:
    moved = live.ask("/about/?a=1&b=%20")

    assert (moved.status, moved.headers["location"]) == (308, "/about?a=1&b=%20")
    assert live.ask("/a%20b/").headers["location"] == "/a%20b"


def test_a_site_whose_addresses_end_in_a_slash(host: FakeHost, web: RealWeb) -> None:
    host.live(A, site(slash=True))
    web.start()

    for path, location in (("/blog", "/blog/"), ("/about?x=/", "/about/?x=/"), ("/%C3%BC", "/%C3%BC/")):
        moved = web.ask(path)
        assert (moved.status, moved.headers["location"]) == (308, location)
    assert [web.ask(path).text for path in ("/blog/", "/about/", "/", "/robots.txt")] == [
        "blog", "about", "home", "robots",
    ]  # fmt: skip
    assert (web.ask("/nothing").status, web.ask("/nothing").text) == (404, "nothing here")


@pytest.mark.parametrize("slash", [True, False])
def test_no_redirect_leads_to_another_host(host: FakeHost, web: RealWeb, *, slash: bool) -> None:
    host.live(A, site(slash=slash))
    web.start()

    for start in ("//blog", "//evil.test/..%2fblog", "//evil.test/%2e%2e/blog", "/%5Cevil.test/%2e%2e/blog",
                  "/\\evil.test/../blog", "//evil.test//../../blog", "/%2fevil.test/%2e%2e/blog"):  # fmt: skip
        for path in (start, start + "/", start.replace("blog", "about"), start.replace("blog", "about") + "/"):
            answer = web.ask(path)
            assert not answer.headers.get("location", "/x").startswith(("//", "/\\", "/%5C", "/%2f")), (path, answer)


def test_one_page_answers_for_all(host: FakeHost, web: RealWeb) -> None:
    host.live(A, site(fallback="index.html"))
    web.start()

    assert [(web.ask(path).status, web.ask(path).text) for path in ("/users/7", "/nothing/", "/x.y")] == [
        (200, "home")
    ] * 3
    assert web.ask("/users/7").headers["cache-control"] == "no-cache"
    missing = web.ask("/assets/gone.js")
    assert (missing.status, missing.text) == (404, "nothing here")


def test_the_flip_moves_pages_and_keeps_old_assets(host: FakeHost, web: RealWeb) -> None:
    host.live(A, site("one"))
    web.start()
    before = (host.root / "etc/deployd/web/sites/shop-production.caddy").read_text()
    assert web.ask("/").text == "home one"
    host.live(B, site("two"))

    assert (host.root / "etc/deployd/web/sites/shop-production.caddy").read_text() == before
    assert web.ask("/").text == "home two"
    assert [web.ask(f"/assets/app-{version}.js").text for version in ("one", "two")] == ["one", "two"]
    host.ok("unflip", *APP, "--to", A, "--epoch", str(host.epoch()))
    assert web.ask("/").text == "home one"
    assert not any(
        line.startswith(("start", "daemon-reload deployd")) for line in host.calls() if "deployd-shop" in line
    )


def test_from_app_to_site_and_back(host: FakeHost, web: RealWeb) -> None:
    host.live(A)
    host.serve(A)
    web.start()
    assert web.ask("/").text == "hello"
    host.live(B, site())
    assert web.ask("/about").text == "about"
    assert web.ask("/_next/static/a.js").text == "a1"
    host.serve(A)
    host.ok("unflip", *APP, "--to", A, "--epoch", str(host.epoch()))
    assert web.ask("/about").text == "hello"


def test_a_site_is_probed_before_it_is_current(host: FakeHost, web: RealWeb) -> None:
    host.live(A, site("one"))
    host.start(B, site("two"))
    refused = host.refused("probe", *APP, B, doc=PROBE | {"timeout": 0.2}, code="probe-failed")
    assert "probe-shop-production.sock" in refused["details"]["address"]
    web.start()

    reply = host.ok("probe", *APP, B, doc=PROBE)

    assert (reply["status"], [one["status"] for one in reply["warmed"]]) == (200, [200])
    assert web.ask("/").text == "home one"
    host.refused("probe", *APP, B, doc=PROBE | {"path": "/gone", "timeout": 0.2}, code="probe-failed")
    host.refused("probe", *APP, C, doc=PROBE, code="not-sealed")
    assert web.ask("/", X_Deployd_Release=B).text == "home one"
    assert (host.root / "run/deployd-web/probe-shop-production.sock").stat().st_mode & 0o077 == 0
