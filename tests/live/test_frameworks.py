"""Apps of a few kinds go live on real servers with `deployd init && deployd release`; tests/matrix has all kinds."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support import live, nodesites, pagesites, sites
from tests.support.workbench import Workbench

if TYPE_CHECKING:
    from tests.support.world import World


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(tmp_path_factory.mktemp("locks"))


def test_a_plain_server_with_websocket(world: World, bench: Workbench) -> None:
    site = replace(nodesites.sockets(), manager="npm")
    live.put(world, site, bench)

    went = live.go(world, site)

    assert (went.init["found"]["runs"], went.init["probe"]) == ("server.js, as scripts.start says", "/healthz")
    assert went.init["problems"] == []
    for host in range(len(world.hosts)):
        live.asked(world, site, host=host)
        assert live.said_over_websocket(world, "/live", "hello", host=host) == "heard hello"
    assert live.changed_since(world.app) == []


def test_an_app_of_a_monorepo_takes_what_it_needs(world: World, bench: Workbench) -> None:
    site = replace(sites.monorepo("npm"), manager="npm")
    (world.folder / "package-lock.json").write_text('{"lockfileVersion": 3, "packages": {}}')  # a stray one above
    live.put(world, site, bench)

    went = live.go(world, site)

    assert went.init["found"]["workspace"] == "apps/web needs packages/ui; 1 other stays out"
    live.asked(world, site)
    at = ("-C", str(world.app / site.folder))
    shown = world.run("show", went.told.last["release"], "--json", *at).document
    (world.app / "apps/docs/main.js").write_text("// another app's business\n")
    live.commit(world.app)
    again = world.run("release", "--json", "--yes", *at, timeout=600).last
    assert world.run("show", again["release"], "--json", *at).document["artifact"] == shown["artifact"]


def test_a_framework_with_a_server_of_its_own_takes_forms(world: World, bench: Workbench) -> None:
    site = pagesites.sveltekit()
    live.put(world, site, bench)

    live.go(world, site)

    live.asked(world, site)
    origin = f"http://{world.hosts[0].address}"
    request = urllib.request.Request(
        f"{origin}/",
        data=urllib.parse.urlencode({"text": "by form"}).encode(),
        headers={"Origin": origin, "Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert f"by form {origin}" in json.loads(answer.read())["data"]
