"""Who is let in, and to which release, on the real web server: pinned clients, maintenance."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.fakehost import A, B, C, Package
from tests.contract.test_web_app import app, echo
from tests.contract.test_web_static import site

if TYPE_CHECKING:
    from tests.contract.fakehost import FakeHost
    from tests.contract.realweb import Answer, RealWeb

BUILDS = {A: "b" + "a" * 20, B: "b" + "b" * 20, C: "b" + "c" * 20}
PAGE = {"Accept": "text/html,application/xhtml+xml", "Sec_Fetch_Mode": "navigate"}


def built(host: FakeHost, release: str, package: Package, build: str | None = None) -> None:
    """Seal and start a release of a build."""
    begun = host.begin(release, package)
    assert begun["ok"], begun
    host.send(release, package, begun["missing"])
    provenance = {"commit": "c0ffee", "build_id": build or BUILDS[release], "branch": "main"}
    host.ok("seal", "shop", "production", release, doc={"provenance": provenance})
    host.ok("start", "shop", "production", release)


def go_live(host: FakeHost, release: str, package: Package, build: str | None = None) -> None:
    built(host, release, package, build)
    assert host.flip(release, host.current(), host.epoch()).exit == 0


def who(answer: Answer) -> str:
    return answer.headers["x-deployd-release"]


@pytest.fixture
def two(host: FakeHost, web: RealWeb) -> RealWeb:
    """Two releases that were live one after the other."""
    for release, version in ((A, "one"), (B, "two")):
        go_live(host, release, app(version))
        echo(host, release)
    web.start()
    return web


def test_a_client_stays_with_the_release_that_it_was_loaded_from(two: RealWeb) -> None:
    old = BUILDS[A]
    assert who(two.ask("/")) == B
    for path in (f"/?dpl={old}", f"/_next/image?url=%2Fa.png&w=64&q=75&dpl={old}", f"/?dpl={A}", f"/x?a=1&dpl={old}"):
        assert who(two.ask(path)) == A, path
    pinned = two.ask("/about", RSC="1", X_Deployment_Id=old)
    assert who(pinned) == A
    assert pinned.headers["vary"] == "X-Deployment-Id"
    assert json.loads(pinned.body)["headers"]["x-deployment-id"] == old
    assert who(two.ask("/_next/data/x/page.json", X_Deployment_Id=old)) == A
    action = two.ask("/", "POST", b"[]", Next_Action="4f", X_Deployment_Id=old)
    assert (who(action), json.loads(action.body)["body"]) == (A, 2)
    assert two.ask("/robots.txt").text == "robots two"
    assert two.ask(f"/robots.txt?dpl={old}").text == "robots one"
    assert "vary" not in two.ask("/", X_Deployment_Id=BUILDS[B]).headers


def test_the_cookie_counts_for_what_a_page_asks_for_and_not_for_pages(two: RealWeb) -> None:
    cookie = f"a=b; __vdpl={BUILDS[A]}"
    assert who(two.ask("/api", Cookie=cookie, Accept="*/*", Sec_Fetch_Mode="cors")) == A
    assert who(two.ask("/api", Cookie=cookie, Accept="*/*")) == A
    assert who(two.ask("/", "POST", b"", Cookie=cookie, **PAGE)) == A  # a form of that release
    assert who(two.ask("/", Cookie=cookie, **PAGE)) == B
    assert who(two.ask("/", Cookie=cookie, Accept=PAGE["Accept"])) == B  # http, or a browser without Sec-Fetch-Mode
    assert who(two.ask(f"/api?dpl={BUILDS[B]}", Cookie=cookie)) == B


NOBODY = [
    "../../x", "..%2F..%2Fx", "*", "%2A", "b*", "[a-z]", "?", BUILDS[A] + "/", "/" + BUILDS[A], "%00", "x" * 65,
    BUILDS[A] + "%0a", "", "-", "..", ".", f"{BUILDS[A]}&dpl={BUILDS[A]}", "b" + "9" * 20, C, "%7Bvars.live%7D",
    "{vars.live}", "\\", "%5c", BUILDS[A].upper(), f"{BUILDS[A]}%20", "%C3%BC",
]  # fmt: skip


def test_a_name_that_is_no_release_means_the_current_one(two: RealWeb) -> None:
    for name in NOBODY:
        assert who(two.ask(f"/?dpl={name}")) == B, name
        if "%" not in name and "&" not in name:
            assert who(two.ask("/", X_Deployment_Id=name or " ")) == B, name
            assert who(two.ask("/", Cookie=f"__vdpl={name}")) == B, name


def test_what_was_never_live_and_what_is_of_another_app_is_not_reached(host: FakeHost, two: RealWeb) -> None:
    built(host, C, app("three"))
    assert who(two.ask(f"/?dpl={BUILDS[C]}")) == B
    assert who(two.ask(f"/?dpl={C}")) == B
    pins = host.root / "srv/deployd/apps/other/production/pins" / ("b" + "d" * 20)
    pins.mkdir(parents=True)
    (pins / A).touch()
    assert who(two.ask("/?dpl=b" + "d" * 20)) == B


def test_files_come_from_the_own_release_first_and_then_from_the_union(host: FakeHost, web: RealWeb) -> None:
    """Next.js 16 has one build id for all builds, so that two releases have other files under one name."""
    for release, text in ((A, b"old"), (B, b"new")):
        name = f".next/static/{release}.js"
        go_live(host, release, app("x").with_files(**{".next/static/build/_m.js": text, name: text}))
    web.start()
    assert web.ask("/_next/static/build/_m.js").text == "new"
    pinned = web.ask(f"/_next/static/build/_m.js?dpl={BUILDS[A]}")
    assert (pinned.text, pinned.headers["cache-control"]) == ("old", "public, max-age=31536000, immutable")
    assert web.ask(f"/_next/static/{A}.js").text == "old"
    assert web.ask(f"/_next/static/{B}.js?dpl={BUILDS[A]}").text == "new"


def test_rollback_prune_and_a_second_release_of_a_build(host: FakeHost, two: RealWeb) -> None:
    assert host.flip(A, B, host.epoch()).exit == 0
    assert who(two.ask("/")) == A
    assert who(two.ask(f"/?dpl={BUILDS[B]}")) == B
    status = {one["id"]: one for one in host.ok("status", "shop", "production")["releases"]}
    assert status[A]["left_at"] is None
    assert status[B]["left_at"] > status[B]["live_at"]

    go_live(host, C, app("three"), build=BUILDS[B])  # the same commit again
    echo(host, C)
    assert who(two.ask(f"/?dpl={BUILDS[B]}")) == C
    assert who(two.ask(f"/?dpl={B}")) == B
    for release in (A, B):
        host.ok("stop", "shop", "production", release)
    host.ok("prune", "shop", "production", doc={"keep": [C], "protect": []})
    assert who(two.ask(f"/?dpl={BUILDS[A]}")) == C
    assert who(two.ask(f"/?dpl={B}")) == C
    assert sorted(one.name for one in host.path("pins").iterdir()) == sorted([C, BUILDS[B]])
    assert not host.path("special").exists()


def test_the_id_that_an_app_gives_itself_is_known(host: FakeHost, web: RealWeb) -> None:
    config = json.dumps({"config": {"deploymentId": "v1-of_mine"}}).encode()
    go_live(host, A, app("one").with_files(**{".next/required-server-files.json": config}))
    go_live(host, B, app("two"))
    echo(host, A)
    web.start()
    assert who(web.ask("/?dpl=v1-of_mine")) == A
    evil = json.dumps({"config": {"deploymentId": "../../../etc"}}).encode()
    go_live(host, C, app("three").with_files(**{".next/required-server-files.json": evil}))
    assert not (host.root / "etc" / C).exists()


def test_data_of_the_pages_router_is_asked_for_by_the_builds_own_name(host: FakeHost, web: RealWeb) -> None:
    """Before 15 it sends nothing else. 16 has one name for all builds, and sends the header."""
    for release, name in ((A, b"kX3_-one"), (B, b"kX3_-two")):
        go_live(host, release, app(release).with_files(**{".next/BUILD_ID": name}))
        echo(host, release)
    web.start()
    for path, release in (
        ("/_next/data/kX3_-one/old.json", A), ("/base/_next/data/kX3_-one/a/b.json?x=1", A), ("/_next/data/kX3_-two/old.json", B),
        ("/_next/data/nobodys/old.json", B), ("/_next/data/../kX3_-one/old.json", B), ("/_next/data/kX3_-one", B),
    ):  # fmt: skip
        assert who(web.ask(path)) == release, path
    assert who(web.ask("/_next/data/kX3_-one/old.json", X_Deployment_Id=BUILDS[B])) == B


def test_a_static_site_has_pinned_clients_too(host: FakeHost, web: RealWeb) -> None:
    go_live(host, A, site("one"))
    go_live(host, B, site("two"))
    web.start()
    assert web.ask("/").text == "home two"
    assert web.ask(f"/?dpl={BUILDS[A]}").text == "home one"
    assert web.ask("/assets/app-one.js").text == "one"


def maintenance(host: FakeHost, *, on: bool = True, **fields: Any) -> dict[str, Any]:
    return host.ok("maintenance", "shop", "production", doc={"on": on, **fields}).json


@pytest.mark.parametrize("kind", [app, site])
def test_maintenance(host: FakeHost, web: RealWeb, kind: Any) -> None:
    go_live(host, A, kind("one"))
    if kind is app:
        echo(host, A)
    web.start()
    calls = len(host.calls())
    assert maintenance(host)["changed"] is True
    assert maintenance(host)["changed"] is False
    for method in ("GET", "POST", "HEAD"):
        away = web.ask("/", method, b"x" if method == "POST" else None, Host="anything.test")
        assert (away.status, away.headers["retry-after"], away.headers["cache-control"]) == (503, "60", "no-store")
        assert method == "HEAD" or "We will be right back" in away.text
    for path in (f"/?dpl={BUILDS[A]}", "/robots.txt", "/_next/static/one.js", "/assets/app-one.js"):
        assert web.ask(path).status == 503, path
    assert (web.ask("/.deployd/health").status, web.ask("/.deployd/health").text) == (503, "not ready")
    assert host.ok("status", "shop", "production")["maintenance"]["allow"] == []

    maintenance(host, page="<h1>Back at nine: \u00fc</h1>")
    for method in ("GET", "POST", "DELETE"):
        own = web.ask("/any/where?x", method, b"x" if method != "GET" else None, If_None_Match="*", Range="bytes=0-1")
        assert (own.status, own.text) == (503, "<h1>Back at nine: \u00fc</h1>")
        assert own.headers["content-type"] == "text/html; charset=utf-8"
        assert not {"etag", "last-modified"} & set(own.headers)

    assert maintenance(host, on=False)["changed"] is True
    assert maintenance(host, on=False)["changed"] is False
    assert web.ask("/").status == 200
    assert web.ask("/.deployd/health").status == 200
    assert host.ok("status", "shop", "production")["maintenance"] is None
    assert not [call for call in host.calls()[calls:] if "reload" in call]


def test_only_named_addresses_come_in_during_maintenance(host: FakeHost, two: RealWeb) -> None:
    maintenance(host, allow=["192.0.2.7", "2001:DB8:0:0::1"])
    assert host.ok("status", "shop", "production")["maintenance"]["allow"] == ["192.0.2.7", "2001:db8::1"]
    forged = dict.fromkeys(("X_Forwarded_For", "X_Real_Ip", "Client_Ip", "True_Client_Ip", "X_Client_Ip"), "192.0.2.7")
    for headers in (forged, {"Forwarded": "for=192.0.2.7"}, {"X_Deployd_Release": "current"}, {"X_Deployd_Release": A}):
        assert two.ask("/", **headers).status == 503
    maintenance(host, allow=["127.0.0.1"])
    assert who(two.ask("/")) == B
    assert who(two.ask(f"/?dpl={A}")) == A
    assert two.ask("/.deployd/health").status == 503
    maintenance(host)
    assert two.ask("/").status == 503
    for wrong in ("../../x", "10.0.0.0/33", "", "fe80::1%eth0", "1.2.3", "2001:db8::/70", "2000::/3", 7):
        host.refused("maintenance", "shop", "production", doc={"on": True, "allow": [wrong]}, code="bad-request")


def test_whole_networks_come_in_during_maintenance(host: FakeHost, two: RealWeb) -> None:
    """Of 127.0.0.1 these are, or are not; IPv6 and its ways to be written: with who asks through a trusted proxy."""
    for network, status in (
        ("127.0.0.0/8", 200), ("127.0.0.1/30", 200), ("127.0.0.0/31", 200), ("126.0.0.0/7", 200), ("0.0.0.0/0", 200),
        ("127.0.0.128/25", 503), ("127.1.0.0/16", 503), ("10.0.0.0/8", 503), ("2001:db8::/32", 503),
    ):  # fmt: skip
        maintenance(host, allow=["192.0.2.7", network])
        assert two.ask("/").status == status, network
    maintenance(host, allow=["127.0.0.1/16", "192.0.2.7"])
    allowed = host.ok("status", "shop", "production")["maintenance"]["allow"]
    assert allowed == ["127.0.0.0/16", "192.0.2.7"]


def test_a_release_goes_live_during_maintenance(host: FakeHost, two: RealWeb) -> None:
    maintenance(host)
    probe = {"path": "/", "timeout": 3, "interval": 0.05, "successes": 1}
    assert host.ok("probe-web", "shop", "production", B, doc=probe)["status"] == 200
    go_live(host, C, app("three"))
    echo(host, C)
    assert host.ok("probe-web", "shop", "production", C, doc=probe)["status"] == 200
    host.refused("probe-web", "shop", "production", B, doc={**probe, "timeout": 0.3}, code="probe-failed")
    assert two.ask("/").status == 503
    maintenance(host, on=False)
    assert who(two.ask("/")) == C


def lots(web: RealWeb, count: int) -> dict[str, str]:
    """Visitors who come for the first time: the lot that each was given, and the release."""
    found = {}
    for _ in range(count):
        answer = web.ask("/", **PAGE)
        name, _, rest = answer.headers["set-cookie"].partition("=")
        assert name == "__deployd_canary"
        found[rest.partition(";")[0]] = who(answer)
    return found


def test_some_visitors_get_another_release_and_keep_it(host: FakeHost, two: RealWeb) -> None:
    built(host, C, app("three"))
    echo(host, C)
    calls = len(host.calls())
    assert "set-cookie" not in two.ask("/", **PAGE).headers

    def canary(percent: float, release: str | None = C) -> Any:
        return host.ok("canary", "shop", "production", doc={"release": release, "percent": percent})["canary"]

    assert canary(0.1) == {"release": C, "percent": 0.4}  # the least that there is, and not nobody
    assert canary(0) == {"release": C, "percent": 0.0}
    assert canary(50) == {"release": C, "percent": 50.0}
    first = lots(two, 60)
    assert {who for lot, who in first.items() if int(lot, 16) < 128} == {C}
    assert {who for lot, who in first.items() if int(lot, 16) >= 128} == {B}
    for lot, release in list(first.items())[:10]:
        again = two.ask("/", Cookie=f"__deployd_canary={lot}", **PAGE)
        assert (who(again), "set-cookie" in again.headers) == (release, False)
        assert who(two.ask("/api", Cookie=f"__deployd_canary={lot}", Accept="*/*")) == release
    canary(80)
    for lot, release in first.items():
        if release == C:
            assert who(two.ask("/", Cookie=f"__deployd_canary={lot}", **PAGE)) == C
    api = two.ask("/api", Accept="*/*")
    assert (who(api), "set-cookie" in api.headers) == (B, False)
    for wrong in ("zz", "../in/00", "0", "000", "*"):
        assert who(two.ask("/api", Cookie=f"__deployd_canary={wrong}", Accept="*/*")) == B
    assert who(two.ask(f"/?dpl={BUILDS[C]}")) == C
    assert who(two.ask(f"/?dpl={BUILDS[A]}", Cookie="__deployd_canary=00")) == A
    assert who(two.ask(f"/?dpl={BUILDS[B]}", Cookie="__deployd_canary=00")) == B  # a page that was loaded before
    canary(100)
    assert set(lots(two, 5).values()) == {C}
    assert host.ok("status", "shop", "production")["canary"] == {"release": C, "percent": 100.0}
    host.ok("stop", "shop", "production", C)
    assert C not in host.ok("prune", "shop", "production", doc={"keep": [], "protect": [A]})["removed"]

    assert host.ok("canary", "shop", "production", doc={"release": None})["canary"] is None
    assert who(two.ask("/", Cookie="__deployd_canary=00", **PAGE)) == B
    assert not [call for call in host.calls()[calls:] if "reload" in call]


def test_a_flip_ends_a_canary(host: FakeHost, two: RealWeb) -> None:
    built(host, C, app("three"))
    echo(host, C)
    host.ok("canary", "shop", "production", doc={"release": C, "percent": 10})
    assert host.flip(C, B, host.epoch()).exit == 0
    assert host.ok("status", "shop", "production")["canary"] is None
    assert who(two.ask("/", **PAGE)) == C
    host.refused("canary", "shop", "production", doc={"release": C, "percent": 10}, code="is-current")
    gone = "20991121-101530-3fa9c01-k2x7"
    host.refused("canary", "shop", "production", doc={"release": gone, "percent": 10}, code="not-sealed")
    host.refused("canary", "shop", "production", doc={"release": A, "percent": 101}, code="bad-request")
    host.refused("canary", "shop", "production", doc={"release": "../x", "percent": 1}, code="bad-request")
