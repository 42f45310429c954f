"""Open tabs across a release, in a real browser, for each line of Next.js: App Router, Pages Router, server actions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from deployd import lab
from tests.lab.conftest import hosts_lab
from tests.support.browser import Tab, chromium
from tests.support.nextcells import commit
from tests.support.nextsmall import MAJORS
from tests.support.workbench import Workbench

if TYPE_CHECKING:
    from tests.support.world import World

EXTRA = '[run]\nwarm = "0s"\n[keep]\nreleases = 1\nfailed = 0\n'
LINK = 'import Link from "next/link"; '
NAV = '<nav><Link href="/%s">%s</Link> <Link href="/%s">%s</Link></nav>'
FILES = {
    "app/layout.jsx": LINK + "export default function L({children}){return <html><body>"
    + NAV % ("press", "press", "made", "made") + "{children}</body></html>}",
    "app/page.jsx": "export default function P(){return <h1>Home</h1>}",
    "app/health/route.js": 'export const dynamic="force-dynamic"; export function GET(){return new Response("ok")}',
    "app/made/page.jsx": 'export const dynamic="force-dynamic"; export default function P(){return <h1>Made VERSION</h1>}',
    "app/press/count.js": """"use server";
import { cookies } from "next/headers";
export async function count() {
  const jar = await cookies();
  jar.set("times", String(Number(jar.get("times")?.value ?? 0) + 1));
}
export async function onlyVERSION() { return "VERSION"; }
""",
    "app/press/page.jsx": """
import { cookies } from "next/headers";
import { count } from "./count";
export default async function P() {
  const times = (await cookies()).get("times")?.value ?? "0";
  return <><h1>Press VERSION</h1><output>{times}</output><form action={count}><button>Count</button></form></>;
}
""",
    "pages/old.jsx": LINK + "export async function getServerSideProps(){return {props:{}}} export default function O(){return <>"
    + NAV % ("old", "old", "older", "older") + "<h1>Old VERSION</h1></>}",
    "pages/older.jsx": LINK + "export async function getServerSideProps(){return {props:{}}} export default function O(){return <>"
    + NAV % ("old", "old", "older", "older") + "<h1>Older VERSION</h1></>}",
}  # fmt: skip


def write(world: World, version: str) -> None:
    for path, text in FILES.items():
        (world.app / path).parent.mkdir(parents=True, exist_ok=True)
        (world.app / path).write_text(text.replace("VERSION", version))


def app(world: World, major: str) -> None:
    react = "18.3.1" if int(major) < 15 else "19.2.0"
    needs = {"next": MAJORS[major], "react": react, "react-dom": react}
    package = {"name": "shop", "private": True, "scripts": {"build": "next build"}, "dependencies": needs}
    (world.app / "package.json").write_text(json.dumps(package))
    (world.app / ".gitignore").write_text("node_modules\n.next\n")
    config = {"experimental": {"serverActions": True}} if major == "13" else {}
    (world.app / "next.config.js").write_text(f"module.exports = {json.dumps(config)}")
    world.write_toml(EXTRA, hosts=[world.hosts[0].name])
    write(world, "one")
    Workbench(world.state).lock(world.app)
    commit(world.app)


def release(world: World) -> str:
    return str(world.run("release", "--json", timeout=600).last["release"])


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("major", list(MAJORS))
def test_tabs_of_each_line(world: World, major: str) -> None:
    app(world, major)
    first = release(world)
    with chromium() as browser:
        made = [Tab(browser.new_context().new_page(), f"http://{world.hosts[0].address}") for _ in range(4)]
        pressed, old, late, late_old = made
        for tab, path in ((pressed, "/press"), (old, "/old"), (late, "/press"), (late_old, "/old")):
            tab.open(path)
            tab.mark("here")
        write(world, "two")
        commit(world.app)
        release(world)

        pressed.page.click("button")
        pressed.page.wait_for_selector('output:has-text("1")')
        pressed.click("made", shows="Made")
        old.click("older", shows="Older")
        # 13.5 sends no id with what its App Router asks for: it loads the new release's page, once, and goes on there
        stays = major != "13"
        assert (pressed.marked, pressed.text("h1")) == (("here", "Made one") if stays else (None, "Made two"))
        assert (old.marked, old.text("h1")) == ("here", "Older one")

        unit = f"deployd-{world.name}-production-1@{first}.service"
        lab.run(hosts_lab(world.hosts), world.hosts[0].name, ["systemctl", "stop", unit])
        world.write_toml(EXTRA + 'skew_protection = "0s"\n', hosts=[world.hosts[0].name])
        commit(world.app)
        release(world)
        world.run("prune")
        late.click("made", shows="Made two")
        late_old.click("older", shows="Older two")
        for tab, pages in ((late, ["/press", "/made"]), (late_old, ["/old", "/older"])):
            assert (tab.marked, tab.pages) == (None, pages)
        # what the Pages Router asks for in vain before it loads the page is the one thing that a console shows
        vain = ("_next/data", "404", "Failed to load static props")
        troubles = [one for tab in made for one in tab.troubles if not any(word in one for word in vain)]
        assert troubles == []
