"""Previews' addresses on the real web server: releases, branches, pull requests, who may see them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest

from deployd.domain.addresses import branch_label
from tests.contract.fakehost import A, B, C, Package
from tests.contract.test_visitors import BUILDS, who
from tests.contract.test_web_app import app, echo
from tests.contract.test_web_static import site

if TYPE_CHECKING:
    from tests.contract.fakehost import FakeHost
    from tests.contract.realweb import Answer, RealWeb

DOMAIN = "preview.example.com"


def prepared(host: FakeHost, release: str, package: Package, branch: str | None = None) -> None:
    begun = host.begin(release, package)
    host.send(release, package, begun["missing"])
    provenance = {"commit": "c0ffee", "build_id": BUILDS[release], "branch": branch}
    host.ok("seal", "shop", "production", release, doc={"provenance": provenance})
    host.ok("start", "shop", "production", release)


def live(host: FakeHost, release: str) -> None:
    assert host.flip(release, host.current(), host.epoch()).exit == 0


def look(web: RealWeb, label: str, path: str = "/", *, method: str = "GET", **headers: str) -> Answer:
    return web.ask(path, method, Host=f"{label}.shop.{DOMAIN}", **headers)


@pytest.fixture
def previews(host: FakeHost, web: RealWeb) -> RealWeb:
    """A is live, B and C are only prepared."""
    host.configure(instances=1, domains=[], port=web.port, preview={"domain": DOMAIN})
    for release, version, branch in ((A, "one", "main"), (B, "two", "feature/New Look"), (C, "three", "pull/12")):
        prepared(host, release, app(version), branch)
        echo(host, release)
    live(host, A)
    web.start()
    return web


def test_each_release_branch_and_pull_request_has_an_address(host: FakeHost, previews: RealWeb) -> None:
    for label, release, version in (
        (A, A, "one"), (B, B, "two"), (C, C, "three"), ("main", A, "one"), ("feature-new-look", B, "two"), ("pr-12", C, "three"),
    ):  # fmt: skip
        answer = look(previews, label)
        assert (answer.status, who(answer)) == (200, release), label
        assert answer.headers["x-robots-tag"] == "noindex, nofollow"
        assert look(previews, label, "/robots.txt").text == f"robots {version}"
        assert look(previews, label, f"/_next/static/{version}.js").text == version
        assert look(previews, label, "/.deployd/health").text == "ok"
        assert (
            look(previews, label, f"/?dpl={BUILDS[A]}", X_Deployment_Id=BUILDS[A]).headers["x-deployd-release"]
            == release
        )
    assert "x-robots-tag" not in previews.ask("/").headers
    assert who(previews.ask("/", Host="anything.test")) == A


def test_a_name_that_is_no_release_is_404(host: FakeHost, previews: RealWeb) -> None:
    names = ("nothing", "20991121-101530-3fa9c01-k2x7", "a.b", f"x.{A}", "*", "-", "x" * 63, "pr-13")
    for host_name in (
        *(f"{name}.shop.{DOMAIN}" for name in names),
        f"shop.{DOMAIN}", DOMAIN, f"{A}.other.{DOMAIN}", f"{A}.{DOMAIN}", f"a.{A}.shop.{DOMAIN}", f"nothing.shop.{DOMAIN}.",
        f"NOTHING.shop.{DOMAIN.upper()}", f"nothing.shop.{DOMAIN}:8080", f"a.b.c.d.{DOMAIN}",
    ):  # fmt: skip
        answer = previews.ask("/", Host=host_name)
        assert answer.status in (404, 400), (host_name, answer)
        assert "x-deployd-release" not in answer.headers
    assert who(previews.ask("/", Host=f"{A}.shop.not{DOMAIN}")) == A  # no preview's name: the app's own


def test_a_branch_is_its_newest_release_and_what_is_pruned_is_gone(host: FakeHost, web: RealWeb) -> None:
    host.configure(instances=1, domains=[], port=web.port, preview={"domain": DOMAIN})
    for release, version in ((B, "two"), (A, "one")):  # the older one is started later, as a resumed rollout's may be
        prepared(host, release, site(version), "main")
    web.start()
    assert who(look(web, "main")) == B
    host.ok("discard", "shop", "production", B)
    assert look(web, B).status == 404
    assert who(look(web, "main")) == A
    host.ok("discard", "shop", "production", A)
    assert look(web, "main").status == 404
    assert list(host.path("names").iterdir()) == []


def test_a_password(host: FakeHost, web: RealWeb) -> None:
    hashed = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode()
    host.configure(instances=1, domains=[], port=web.port, preview={"domain": DOMAIN, "password": hashed})
    for release in (A, B):
        prepared(host, release, app(release), "main")
        echo(host, release)
    live(host, A)
    web.start()

    def basic(words: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(words.encode()).decode()}

    asked = look(web, A)
    assert (asked.status, asked.headers["www-authenticate"][:5]) == (401, "Basic")
    assert asked.headers["x-robots-tag"] == "noindex, nofollow"
    assert look(web, A, "/robots.txt").status == 401
    assert look(web, A, **basic("preview:wrong")).status == 401
    seen = look(web, A, **basic("preview:open sesame"))
    assert seen.status == 200
    assert b"sesame" not in seen.body
    assert b"authorization" not in seen.body
    assert who(web.ask("/")) == A

    key = "k_-" + "x" * 29
    host.ok("share", "shop", "production", doc={"label": A, "key": key, "seconds": 3600})
    first = look(web, A, f"/?deployd_share={key}")
    assert (first.status, first.headers["set-cookie"]) == (
        200, f"__deployd_share={key}; Path=/; HttpOnly; SameSite=Lax",
    )  # fmt: skip
    cookie = {"Cookie": f"__deployd_share={key}"}
    assert look(web, A, "/robots.txt", **cookie).status == 200
    assert b"bearer of the app" in look(web, A, Authorization="bearer of the app", **cookie).body
    assert look(web, B, **cookie).status == 401
    for wrong in (key[:-1] + ("a" if key[-1] != "a" else "b"), f"../{A}/{key}", "*" * 24, "", f"{A}/{key}"):
        assert look(web, A, f"/?deployd_share={wrong}").status == 401
        assert look(web, A, Cookie=f"__deployd_share={wrong}").status == 401
    host.refused(
        "share", "shop", "production", doc={"label": "nothing", "key": key, "seconds": 3600}, code="preview-missing"
    )
    host.refused("share", "shop", "production", doc={"label": "../x", "key": key, "seconds": 3600}, code="bad-request")


def test_previews_are_behind_maintenance_too(host: FakeHost, previews: RealWeb) -> None:
    host.ok("maintenance", "shop", "production", doc={"on": True})
    assert look(previews, B).status == 503
    host.ok("maintenance", "shop", "production", doc={"on": False})
    assert look(previews, B).status == 200


def test_environments_share_a_domain(host: FakeHost, web: RealWeb) -> None:
    config: dict[str, Any] = {"instances": 1, "port": web.port, "preview": {"domain": DOMAIN}}
    host.configure(**config, domains=[])
    host.ok("configure", "shop", "staging", doc={**config, "domains": ["staging.test"]})
    prepared(host, A, site("one"), "main")
    live(host, A)
    for release in (B, C):
        begun = host.ok(
            "begin", "shop", "staging", release, doc={"manifest": site(release).manifest(), "runtime": None}
        )
        folder = host.root / "srv/deployd/incoming/shop-staging" / release
        for sha256 in begun["missing"]:
            (folder / sha256).write_bytes(site(release).contents[sha256])
        branch = "main" if release == B else "develop"
        host.ok("seal", "shop", "staging", release, doc={"provenance": {"commit": "c0ffee", "branch": branch}})
        host.ok("start", "shop", "staging", release)
    web.start()
    assert [who(look(web, label)) for label in (A, B, C, "main", "develop")] == [A, B, C, A, C]


@pytest.mark.parametrize(
    "preview", [{}, {"domain": "*.x.test"}, {"domain": "x y"}, {"domain": "x.test", "password": "1"}]
)
def test_what_is_no_setting(host: FakeHost, preview: Any) -> None:
    host.refused(
        "configure",
        "shop",
        "production",
        doc={"instances": 1, "domains": [], "port": 80, "preview": preview},
        code="bad-request",
    )


BRANCHES = [
    "main", "feature/New Look", "pull/12", "pr-12", "-", "Ünïcode", "a" * 80, "a" * 62 + "/b", "x_y.z", "20261121-101530-3fa9c01-k2x7",
    "dependabot/npm_and_yarn/packages/some-long-name/another-long-name-1.2.3-beta.4", "pull/x", "___", "release/2.0",
]  # fmt: skip


def test_branches_become_words_of_an_address(host: FakeHost, web: RealWeb) -> None:
    """As the command line computes them, so does the host."""
    host.configure(instances=1, domains=[], port=web.port, preview={"domain": DOMAIN})
    for number, branch in enumerate(BRANCHES):
        release = f"20261121-1015{number:02}-3fa9c01-k2x7"
        prepared_site(host, release, branch)
        given = {one.name for one in host.path("names").iterdir() if (one / release).exists()}
        assert given == {release, branch_label(branch)} - {None}, branch
        assert all(len(one) <= 63 for one in given)


def prepared_site(host: FakeHost, release: str, branch: str) -> None:
    BUILDS.setdefault(release, "b" + "0" * 20)
    prepared(host, release, site(), branch)


def test_pull_requests_need_no_site_of_their_own(host: FakeHost, web: RealWeb) -> None:
    """Production, previews and previews of forks are on one host and one port, and only production answers there."""
    config: dict[str, Any] = {"instances": 1, "port": web.port, "domains": [], "preview": {"domain": DOMAIN}}
    host.configure(**config)
    for environment in ("preview", "fork"):
        host.ok("configure", "shop", environment, doc=config)
    prepared(host, A, site("one"), "main")
    live(host, A)
    for environment, release, number in (("preview", B, 12), ("fork", C, 13)):
        begun = host.ok(
            "begin", "shop", environment, release, doc={"manifest": site(release).manifest(), "runtime": None}
        )
        folder = host.root / "srv/deployd/incoming" / f"shop-{environment}" / release
        for sha256 in begun["missing"]:
            (folder / sha256).write_bytes(site(release).contents[sha256])
        host.ok("seal", "shop", environment, release, doc={"provenance": {"branch": f"pull/{number}"}})
        host.ok("start", "shop", environment, release)
    web.start()
    assert who(web.ask("/")) == A
    assert [who(look(web, label)) for label in ("main", "pr-12", "pr-13", B, C)] == [A, B, C, B, C]
    assert look(web, "pr-14").status == 404
    hold = host.raw("hold", "shop", "preview", stdin=b'{"owner": "me", "rollout": "r-1"}\n')
    host.ok("flip", "shop", "preview", B, "--expect", "none", "--epoch", str(hold["epoch"]))
    probe = {"path": "/", "timeout": 3, "interval": 0.05, "successes": 1}
    assert host.ok("probe-web", "shop", "preview", B, doc=probe)["status"] == 200
    assert who(web.ask("/")) == A
    own = {**config, "domains": ["preview.shop.test"]}
    host.ok("configure", "shop", "preview", doc=own)
    host.ok("configure", "shop", "fork", doc=own)
