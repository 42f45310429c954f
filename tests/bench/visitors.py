"""What visitors feel, as lines of the benchmark: tabs and load through many releases, cold previews, files, many kept.

`bench_visitors` takes a world of hosts with the example app released; all of it happens on the first host, over https.
`python -m tests.bench.visitors [--releases N] [PART...]` does it alone, with parts cold, idle, files, pages, kept, tabs.
"""

from __future__ import annotations

import argparse
import copy
import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import lab
from tests.bench import cold, kept, serving
from tests.support.browser import Tab, chromium
from tests.support.nextcells import git
from tests.support.world import ROOT, World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LAB = "bench-visitors"
NAME = "shop.bench.test"
PREVIEWS = "preview.bench.test"
TABS = 3
CONNECTIONS = 16
RELEASES = int(os.environ.get("BENCH_RELEASES", "10"))
PAGES = (("action", "Press it"), ("dynamic", "Made for you"), ("picture", "A picture"), ("fresh", "Never old"))


def bench_visitors(
    world: World, *, say: Callable[[str], None], releases: int = RELEASES, parts: Sequence[str] = ()
) -> None:
    """Print one line for each number; afterwards the app has its hosts and addresses again."""
    before = (world.app / "deployd.toml").read_text()
    try:
        plain: dict[str, Callable[[], None]] = {
            "files": lambda: serving.files(world, say=say),
            "pages": lambda: serving.pages(world, say=say),
        }
        secure: dict[str, Callable[[], None]] = {
            "cold": lambda: cold.cold(world, previews=PREVIEWS, say=say),
            "idle": lambda: cold.idle(world, previews=PREVIEWS, say=say),
            "kept": lambda: kept.kept(world, say=say),
            "tabs": lambda: tabs(world, releases=releases, say=say),
        }
        for kind, settle in ((plain, on_one_host), (secure, with_names)):
            wanted = [name for name in kind if name in parts or not parts]
            if wanted:
                settle(world)
                world.run("release", "--json", "--yes", timeout=900)
            for name in wanted:
                kind[name]()
    finally:
        (world.app / "deployd.toml").write_text(before)
        commit(world.app)


def on_one_host(world: World) -> None:
    """The app on the first host alone, at its address."""
    world.write_toml(hosts=[world.hosts[0].name])
    commit(world.app)


def with_names(world: World) -> None:
    """The same under a name of its own, with previews, over https."""
    world.write_toml(hosts=[world.hosts[0].name])
    with (world.app / "deployd.toml").open("a") as file:
        file.write(f'domains = ["{NAME}"]\ntls = "internal"\npreview_domain = "{PREVIEWS}"\n')
    commit(world.app)


def tabs(world: World, *, releases: int, say: Callable[[str], None]) -> None:
    """Two commits take turns in going live while tabs are clicked in and connections ask; nothing may fail."""
    page = world.app / "app" / "page.tsx"
    first = commit_of(world)
    page.write_text(page.read_text().replace("Fresh from", "Fresher from"))
    commit(world.app)
    commits = (commit_of(world), first)
    for one in commits:  # both are built before anything is counted
        world.run("release", one, "--json", "--yes", timeout=900)
    clicks = 0
    seconds = []
    with chromium({NAME: world.hosts[0].address}) as browser:
        opened = [Tab(browser.new_context(ignore_https_errors=True).new_page(), f"https://{NAME}") for _ in range(TABS)]
        for tab in opened:
            tab.open("/action")
            tab.mark("opened at the beginning")
        with one_host(world).load(connections=CONNECTIONS, name=NAME, path="/dynamic", pause=0.01) as told:
            for number in range(releases):
                seconds.append(world.run("release", commits[number % 2], "--yes", "--json", timeout=300).seconds)
                for tab in opened:
                    link, heading = PAGES[clicks % len(PAGES)]
                    tab.click(link, shows=heading)
                    if link == "action":
                        tab.page.click("button")
                        tab.page.wait_for_selector("output")
                    clicks += 1
        broken = [tab for tab in opened if tab.troubles or tab.marked is None]
        leave(opened)
    failed, requests = told["failed"], told["requests"]
    vitals = world.run("traffic", "--vitals", "--since", "2h", "--json").document
    say(
        f"visitors  {releases} releases (median {statistics.median(seconds):.1f} s), {TABS} browsers ({clicks} clicks) and"
        f" {CONNECTIONS} connections over https: {failed} of {requests} requests failed, {len(broken)} tabs broken"
        f" (0 and 0)"
    )
    metrics = [one for release in vitals["vitals_by_release"] for one in release["metrics"]]
    names = ", ".join(sorted({one["name"] for one in metrics}))
    say(f"visitors  Core Web Vitals: {sum(one['count'] for one in metrics)} told by these browsers ({names})")
    for trouble in [
        *told["failures"][:5],
        *(one for tab in broken for one in (tab.troubles[:5] or ["it loaded anew"])),
    ]:
        say(f"visitors    {trouble}")


def leave(opened: Sequence[Tab]) -> None:
    """Leave the pages: that is when the last of what they tell of themselves comes."""
    for tab in opened:
        tab.page.goto("about:blank")


def one_host(world: World) -> World:
    """The same world with its first host alone."""
    found = copy.copy(world)
    found.hosts = world.hosts[:1]
    return found


def commit(folder: Path) -> None:
    """Commit all there is, if anything."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "a change")


def commit_of(world: World) -> str:
    """The commit that is checked out."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=world.app, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def prepare(folder: Path) -> World:
    """One host, bootstrapped, and the example app in a repository."""
    lab.up(LAB, hosts=1)
    world = World(folder=folder, hosts=lab.status(LAB), state=folder / "state", name="shop")
    world.add_hosts()
    world.run("host", "bootstrap", world.hosts[0].name, timeout=600)
    ignore = shutil.ignore_patterns("node_modules", ".next", "deployd.toml")
    shutil.copytree(ROOT / "examples" / "nextjs", world.app, dirs_exist_ok=True, ignore=ignore)
    git(world.app, "init", "--quiet", "--initial-branch", "main")
    commit(world.app)
    return world


def main() -> None:
    """Run alone, on a lab host of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, default=RELEASES, help="how many releases tabs and load go through")
    parser.add_argument("parts", nargs="*", metavar="PART", help="cold, idle, kept, tabs, files, pages")
    wish = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="deployd-bench-") as folder:
        try:
            bench_visitors(
                prepare(Path(folder)),
                say=lambda text: print(text, flush=True),
                releases=wish.releases,
                parts=wish.parts,
            )
        finally:
            lab.down(LAB)


if __name__ == "__main__":
    main()
