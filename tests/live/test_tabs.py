"""Open tabs of a real browser while the example app is released: nothing in them breaks, and nothing loads twice."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest

from deployd import lab
from tests.lab.conftest import hosts_lab
from tests.support.browser import Tab, chromium
from tests.support.nextcells import commit
from tests.support.world import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from tests.support.world import World

EXTRA = '[run]\nwarm = "0s"\n[keep]\nreleases = 1\nfailed = 0\n'


def example(world: World) -> Path:
    """The example app in a person's repository, for the first host alone."""
    shutil.copytree(
        ROOT / "examples" / "nextjs",
        world.app,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("node_modules", ".next"),
    )
    world.write_toml(EXTRA, hosts=[world.hosts[0].name])
    commit(world.app)
    return world.app


def change(world: World, version: str) -> None:
    """Another page, another action, other chunks."""
    page = world.app / "app" / "page.tsx"
    page.write_text(f"export default function Home() {{ return <h1>Home {version}</h1>; }}\n")
    action = world.app / "app" / "action" / "count.ts"
    action.write_text(action.read_text() + f"\nexport async function more{version}() {{ return {version}; }}\n")
    commit(world.app)


def release(world: World) -> str:
    return str(world.run("release", "--json", timeout=400).last["release"])


def tab(browser: Browser, world: World) -> Tab:
    return Tab(browser.new_context().new_page(), f"http://{world.hosts[0].address}")


@pytest.mark.timeout(600)
def test_tabs_go_on_through_a_release_and_load_anew_once_it_is_gone(world: World) -> None:
    example(world)
    change(world, "1")
    first = release(world)
    with chromium() as browser:
        old, late = tab(browser, world), tab(browser, world)
        for one in (old, late):
            one.open("/action")
            one.mark("opened before the release")
        old.page.click("button")
        old.page.wait_for_selector('output:has-text("1")')

        change(world, "2")
        second = release(world)

        # the old tab keeps its server, its action, its chunks
        asked = len(old.asked)
        old.page.click("button")
        old.page.wait_for_selector('output:has-text("2")')
        old.click("shop", shows="Home 1")
        old.click("picture", shows="A picture")
        old.click("dynamic", shows="Made for you")
        old.click("action", shows="Press it")
        assert old.marked == "opened before the release"
        assert old.pages == ["/action"]
        # a hashed file that both releases have says none: it is given out before anything is decided
        mine = {who for who, path in old.asked[asked:] if "dpl=" in path or "_rsc" in path or path == "/action"}
        assert mine - {None} == {first}
        new = tab(browser, world)
        new.open()
        new.click("action", shows="Press it")
        assert {who for who, _ in new.asked} - {None} == {second}

        # the release is gone: each tab loads once, and is then of the new one
        unit = f"deployd-{world.name}-production-1@{first}.service"
        lab.run(hosts_lab(world.hosts), world.hosts[0].name, ["systemctl", "stop", unit])
        world.write_toml(EXTRA + 'skew_protection = "0s"\n', hosts=[world.hosts[0].name])
        third = release(world)  # the second's build, again: a release of its own
        world.run("prune")
        late.click("dynamic", shows="Made for you")
        assert late.marked is None
        assert late.pages == ["/action", "/dynamic"]
        late.click("shop", shows="Home 2")
        late.click("action", shows="Press it")
        late.page.click("button")
        late.page.wait_for_selector('output:has-text("1")')
        assert late.pages == ["/action", "/dynamic"]
        assert late.asked[-1][0] == third
        assert (old.troubles, late.troubles, new.troubles) == ([], [], [])
        told_of_themselves(world, (old, late, new), {first, second, third})


def told_of_themselves(world: World, tabs: tuple[Tab, ...], releases: set[str]) -> None:
    """What the pages' own lines sent to the web server: by the release that each page is of, and by its route."""
    for one in tabs:
        one.page.goto("about:blank")  # the last of it comes when a page is left
    deadline = time.monotonic() + 60
    wanted = {("FCP", "/action"), ("FCP", "/dynamic"), ("TTFB", "/"), ("CLS", "/action"), ("LCP", "/action")}
    while True:
        found = world.run("traffic", "--vitals", "--since", "30m", "--json").document
        named = {(one["name"], by["route"]) for by in found["vitals_by_route"] for one in by["metrics"]}
        if named >= wanted:
            break
        assert time.monotonic() < deadline, found
    assert {by["release"] for by in found["vitals_by_release"]} == releases
