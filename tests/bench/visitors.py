"""What visitors feel, as lines of the benchmark: tabs and load through many releases, cold previews, idle connections.

`bench_visitors` takes a world of hosts with the example app released; tabs are on its first host.
"""

from __future__ import annotations

import socket
import statistics
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import lab
from tests.support.browser import Tab, chromium
from tests.support.nextcells import commit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.world import World

FLIPS = 100
TABS = 3
IDLE = 10_000
COLD = 5
# On the host: the release's server by itself, from its start to its first byte, in milliseconds.
BARE = """
import os, subprocess, sys, time, urllib.request
folder = sys.argv[1]
began = time.perf_counter()
server = subprocess.Popen(
    [folder + "/node", folder + "/entry"], cwd=folder + "/..", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    env={"PORT": "39123", "HOSTNAME": "localhost", "NODE_ENV": "production", "HOME": "/tmp", "PATH": os.environ["PATH"]},
)
try:
    while time.perf_counter() - began < 30:
        try:
            urllib.request.urlopen("http://localhost:39123/health", timeout=10).read(1)
            break
        except OSError:
            time.sleep(0.002)
    print((time.perf_counter() - began) * 1000)
finally:
    server.kill()
    server.wait()
"""


def bench_visitors(world: World, *, say: Callable[[str], None]) -> None:
    """Print one line for each number. Releases another commit first: two builds that are not the same."""
    page = world.app / "app" / "page.tsx"
    page.write_text(page.read_text().replace("Fresh from", "Fresher from"))
    commit(world.app)
    other = str(world.run("release", "--json", "--yes", timeout=900).last["release"])
    before = next(one["id"] for one in world.run("releases", "--json").document if one["id"] != other)
    releases = (before, other)
    flips(world, releases, say)
    cold(world, releases[0], say)
    idle(world, say)


def flips(world: World, releases: Sequence[str], say: Callable[[str], None]) -> None:
    """Two releases take turns while tabs are clicked in and connections ask; nothing may fail."""
    address = f"http://{world.hosts[0].address}"
    pages = (("action", "Press it"), ("dynamic", "Made for you"), ("picture", "A picture"), ("fresh", "Never old"))
    clicks = 0
    with chromium() as browser:
        tabs = [Tab(browser.new_context().new_page(), address) for _ in range(TABS)]
        for tab in tabs:
            tab.open("/action")
            tab.mark("opened at the beginning")
        with world.load(connections=16) as told:
            for number in range(FLIPS):
                world.run("rollback", releases[number % 2], "--yes", "--json")
                for tab in tabs:
                    link, heading = pages[clicks % len(pages)]
                    tab.click(link, shows=heading)
                    clicks += 1
        broken = sum(bool(tab.troubles) or tab.marked is None for tab in tabs)
    failed, requests = told["failed"], told["requests"]
    say(
        f"visitors  {FLIPS} flips, {TABS} tabs ({clicks} clicks), 16 connections: {failed} of {requests} failed, {broken} tabs broken"
    )


def cold(world: World, release: str, say: Callable[[str], None]) -> None:
    """A preview's first byte when nothing of it runs, beside a bare start of its server until its first byte."""
    host = (lab_of(world), world.hosts[0].name)
    unit = f"deployd-{world.name}-production-1@{release}.service"
    folder = f"/srv/deployd/apps/{world.name}/production/releases/{release}/.deployd"
    through, alone = [], []
    for _ in range(COLD):
        lab.run(*host, ["systemctl", "stop", unit])
        began = time.perf_counter()
        request = urllib.request.Request(
            f"http://{world.hosts[0].address}/health?dpl={release}", headers={"Host": world.hosts[0].address}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read(1)
        through.append((time.perf_counter() - began) * 1000)
        alone.append(float(lab.run(*host, ["python3", "-c", BARE, folder]).text))
    ratio = statistics.median(through) / statistics.median(alone)
    say(
        f"visitors  a cold release's first byte {statistics.median(through):.0f} ms, `node server.js` alone"
        f" {statistics.median(alone):.0f} ms: {ratio:.2f} times"
    )


def idle(world: World, say: Callable[[str], None]) -> None:
    """Requests while very many connections say nothing, beside the same without them."""

    def asked() -> float:
        began = time.perf_counter()
        for _ in range(200):
            with urllib.request.urlopen(f"http://{world.hosts[0].address}/health", timeout=30) as answer:
                answer.read()
        return (time.perf_counter() - began) / 200 * 1000

    before = asked()
    lines = [socket.create_connection((world.hosts[0].address, 80), timeout=30) for _ in range(IDLE)]
    try:
        during = asked()
    finally:
        for line in lines:
            line.close()
    say(f"visitors  {IDLE} idle connections: a request takes {during:.2f} ms, {before:.2f} ms without them")


def lab_of(world: World) -> str:
    """The lab that the world's hosts are of."""
    return Path(str(world.hosts[0].identity)).parent.name
