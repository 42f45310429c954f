"""Hashed assets of very many kept releases on a host: a flip takes as long as with those of a few."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from deployd import lab
from tests.bench.places import host_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.world import World

FEW, MANY = 10, 1_000
FLIPS = 10
# On the host: for each of so many releases, as many files in the union as the app has, in a release's folder of links.
MAKE = """
import os, sys
base, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
current = os.path.realpath(base + "/current/.deployd/www/_next/static")
names = [os.path.join(os.path.relpath(here, current), name) for here, _, files in os.walk(current) for name in files]
for number in range(first, last):
    for name in names:
        folder, _, file = os.path.normpath(name).rpartition("/")
        stem, dot, end = file.partition(".")
        at = f"{base}/static/_next/static/{folder}"
        kept = f"{base}/bench/{number}/{folder}"
        os.makedirs(at, exist_ok=True)
        os.makedirs(kept, exist_ok=True)
        path = f"{kept}/{stem}-{number:06x}{dot}{end}"
        with open(path, "w") as made:
            made.write(f"{number} {name}")
        os.link(path, f"{at}/{stem}-{number:06x}{dot}{end}")
print(len(names), sum(len(files) for _, _, files in os.walk(base + "/static")))
"""


def kept(world: World, *, say: Callable[[str], None]) -> None:
    """Flips to and fro with the assets of few releases in `static/`, and with those of many."""
    base = f"/srv/deployd/apps/{world.name}/production"
    release = str(world.status()["release"])
    other = str(world.run("release", "--json", "--yes", timeout=900).last["release"])
    found = {}
    try:
        for before, count in ((0, FEW), (FEW, MANY)):
            made = lab.run(*host_of(world), ["python3", "-c", MAKE, base, str(before), str(count)], timeout=600)
            files = int(made.text.split()[1])
            flips = [flip(world, (release, other)[n % 2]) for n in range(FLIPS)]
            sealed = world.run("release", "--json", "--yes", timeout=900)
            other = str(sealed.last["release"])
            found[count] = (files, statistics.median(flips), max(flips), sealed.seconds)
    finally:
        script = f"rm -rf {base}/bench; find {base}/static -type f -links 1 -delete"
        lab.run(*host_of(world), ["sh", "-c", script], timeout=600)
    few, many = found[FEW], found[MANY]
    say(
        f"visitors  flip with the hashed assets of {MANY} releases in static/ ({many[0]} files): {many[1]:.1f} ms, worst"
        f" {many[2]:.1f}; of {FEW} ({few[0]} files): {few[1]:.1f} ms; ratio {many[1] / few[1]:.2f} (about 1);"
        f" a whole release {many[3]:.1f} s and {few[3]:.1f} s"
    )


def flip(world: World, release: str) -> float:
    """Milliseconds that the step takes which flips."""
    events = world.run("rollback", release, "--yes", "--json").events
    (done,) = [one for one in events if one["event"] == "stage_finished" and one["stage"] == "flip"]
    return float(done["seconds"]) * 1000
