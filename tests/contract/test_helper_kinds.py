"""Static releases and seeded folders by the real helper: what each verb does with them, and which manifests are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.fakehost import RUNTIME, A, B, Package, names

if TYPE_CHECKING:
    from tests.contract.fakehost import FakeHost

APP = ("shop", "production")
SITE: dict[str, Any] = {"folder": "site", "trailing_slash": False, "not_found": "404.html", "fallback": None}


def site(version: str = "1", **fields: Any) -> Package:
    files = {
        "site/index.html": version.encode(),
        "site/404.html": b"no",
        "site/404.html.br": b"br",
        "site/a/x.js": b"x",
    }
    return Package(files, **{"entry": "", "static": SITE, "writable": {}, "assets": {"/a": "site/a"}, **fields})


def test_a_static_release_needs_no_runtime_and_no_unit(configured: FakeHost) -> None:
    begun = configured.ok("begin", *APP, A, doc={"manifest": site().manifest(), "runtime": None})
    configured.send(A, site(), begun["missing"])
    configured.ok("seal", *APP, A, doc={"provenance": {}})
    before = configured.calls()

    assert configured.ok("start", *APP, A)["instances"] == 0
    assert configured.flip(A, None, configured.epoch()).exit == 0
    assert configured.ok("seal", *APP, A, doc={"provenance": {}})["already"] is True
    own = configured.release(A) / ".deployd"
    assert names(own) == ["id", "manifest.json", "provenance.json", "sealed.json", "static", "www"]
    assert names(own / "static") == ["404.html", "404.html.br", "site"]
    assert (own / "static/404.html").read_bytes() == b"no"
    (status,) = configured.ok("status", *APP)["releases"]
    assert (status["state"], status["static"], status["instances"]) == (
        "current",
        True,
        {"wanted": 0, "running": 0, "restarts": 0},
    )
    assert status["runtime"] is None
    assert [line for line in configured.calls()[len(before) :] if line.startswith(("start", "daemon-reload"))] == []


def test_verbs_that_need_a_process_say_what_they_mean(configured: FakeHost) -> None:
    configured.live(A, site())

    for verb in (["restart", *APP], ["logs", *APP], ["logs", *APP, "--release", A], ["exec", *APP, "--", "true"]):
        refused = configured.refused(*verb, code="no-process")
        assert "static site" in refused["what"]
        assert refused["live"] == A
    configured.live(B)
    assert configured.ok("stop", *APP, A)["stopping"] is True
    assert configured.raw("logs", *APP).exit == 0
    assert configured.ok("restart", *APP)["restarted"] == 2


def test_boot_starts_nothing_for_a_site(configured: FakeHost) -> None:
    configured.live(A, site())
    configured.live(B, site("2"))
    before = len(configured.calls())

    configured.ok("boot")

    assert [line for line in configured.calls()[before:] if "shop" in line] == []
    assert configured.ok("prune", *APP, doc={"keep": [], "protect": []})["removed"] == [A]


def test_an_app_needs_its_runtime(configured: FakeHost) -> None:
    configured.refused("begin", *APP, A, doc={"manifest": Package().manifest(), "runtime": None}, code="bad-request")


@pytest.mark.parametrize(
    "change",
    [
        {"static": SITE | {"folder": "."}}, {"static": SITE | {"folder": "../x"}}, {"static": SITE | {"folder": "gone"}},
        {"static": SITE | {"folder": ".deployd"}}, {"static": SITE | {"not_found": "gone.html"}},
        {"static": SITE | {"fallback": "../../x"}}, {"static": SITE | {"trailing_slash": "yes"}},
        {"static": SITE | {"more": 1}}, {"static": []}, {"static": "site"}, {"entry": "site/index.html"},
        {"writable": {"cache": "x"}}, {"seeded": {"server-app": "site"}},
    ],
)  # fmt: skip
def test_sites_that_are_not_what_they_should_be(configured: FakeHost, change: dict[str, Any]) -> None:
    document = {"manifest": site(**change).manifest(), "runtime": RUNTIME}

    configured.refused("begin", *APP, A, doc=document, code="manifest-invalid")


@pytest.mark.parametrize(
    "seeded",
    [{"app": "app"}, {"server-app": "gone"}, {"server-app": "../x"}, {"server-app": ".deployd"}, [], {"server-app": "server.js"}],
)  # fmt: skip
def test_seeded_folders_that_are_not_what_they_should_be(configured: FakeHost, seeded: Any) -> None:
    document = {"manifest": writer(seeded=seeded).manifest(), "runtime": RUNTIME}

    configured.refused("begin", *APP, A, doc=document, code="manifest-invalid")


def writer(version: str = "1", **fields: Any) -> Package:
    files = {
        "server.js": b"serve()", ".deployd/listen.cjs": b"listen()", "app/page.js": b"code", "app/page.js.nft.json": b"{}",
        "app/index.html": version.encode(), "app/blog/one.rsc": b"one",
    }  # fmt: skip
    return Package(files, **{"seeded": {"server-app": "app"}, "assets": {}, **fields})


def test_each_release_has_its_own_copy_of_what_is_written_over(configured: FakeHost) -> None:
    configured.live(A, writer())
    copy = configured.path("seeded") / A / "server-app"
    sealed = configured.release(A) / "app"

    assert configured.path("seeded").stat().st_mode & 0o7777 == 0o700
    assert {path.name: path.stat().st_mode & 0o7777 for path in (copy, *copy.rglob("*"))} == {
        "server-app": 0o1777, "blog": 0o1777, "page.js": 0o444, "page.js.nft.json": 0o444, "index.html": 0o666,
        "one.rsc": 0o666,
    }  # fmt: skip
    assert (copy / "page.js").samefile(sealed / "page.js")
    assert not (copy / "index.html").samefile(sealed / "index.html")
    assert (copy / "index.html").stat().st_mtime == (sealed / "index.html").stat().st_mtime

    (copy / "index.html").write_text("fresh")
    configured.ok("start", *APP, A)
    configured.ok("boot")
    assert (copy / "index.html").read_text() == "fresh"
    assert (sealed / "index.html").read_text() == "1"
    configured.live(B, writer("1"))
    assert (configured.path("seeded") / B / "server-app/index.html").read_text() == "1"
    unit = (configured.root / "etc/systemd/system/deployd-shop-production-1@.service").read_text()
    source, target = (
        f"{configured.path('seeded')}/%i/server-app",
        f"{configured.path('releases')}/%i/.deployd/seeded/server-app",
    )
    assert f"BindPaths=-{source}:{target}\n" in unit
    assert (configured.release(A) / ".deployd/seeded/server-app").samefile(sealed)

    for name in configured.bin.joinpath("units").iterdir():
        name.write_text("inactive\n")
    assert configured.ok("prune", *APP, doc={"keep": [], "protect": []})["removed"] == [A]
    assert names(configured.path("seeded")) == [B]


def test_a_copy_that_was_cut_short_is_made_again(configured: FakeHost) -> None:
    configured.seal(A, writer())
    half = configured.path("seeded") / f".making-{A}" / "server-app"
    half.mkdir(parents=True)
    (half / "index.html").write_text("half")

    configured.ok("start", *APP, A)

    assert names(configured.path("seeded")) == [A]
    assert (configured.path("seeded") / A / "server-app/index.html").read_text() == "1"
