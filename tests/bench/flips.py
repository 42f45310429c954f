"""Releases and rollbacks under wrk's 16 connections: failed requests, and p99 beside the same load without them.

Measured twice. First all share all cores, which tells what fails. Then the host that is visited has a core of its own,
as a server has; the other hosts, the load and the command, which stand for other machines, share what is left.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.support.world import World

FLIPS = 50
PAGE = "/dynamic"  # made for each request; `warm` in deployd.toml names it, as it would name an app's dearest pages


def bench_flips(world: World, *, first: Sequence[str], say: Callable[[str], None], flips: int = FLIPS) -> None:
    """Two lines for each arrangement; `first` are releases that every host has, the current one before the others."""
    world.write_toml(f'warm = ["{PAGE}"]')
    under_load(world, first, flips, how="all on the same cores", least=False, say=say)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        say("flips     a core of its own for the visited host: not measured, this machine has one")
        return
    with apart(world, own=cores[0], rest=set(cores[1:])):
        under_load(world, first, flips, how="a core of its own for the visited host", least=True, say=say)


def under_load(
    world: World, live: Sequence[str], flips: int, *, how: str, least: bool, say: Callable[[str], None]
) -> None:
    url = f"http://{world.hosts[0].address}{PAGE}"
    wrk(url, seconds=5)
    before = wrk(url, seconds=20)
    process = start_wrk(url, seconds=900)
    began = time.monotonic()
    try:
        for n in range(flips):
            if n % 5 == 0:
                world.run("release", "--yes", "--json", timeout=300)
            else:
                world.run("rollback", live[(n + 1) % 2], "--yes", "--json")
        seconds = time.monotonic() - began
        process.send_signal(2)
        during = read_wrk(process.communicate(timeout=30)[0])
    finally:
        process.kill()
        process.wait()
    say(f"flips     {how}: {flips} releases and rollbacks in {seconds:.0f} s under 16 connections: "
        f"{during['requests']:.0f} requests, {during['errors']:.0f} failed (must be 0)")  # fmt: skip
    say(
        f"flips     {how}: p99 during {during['p99']:.1f} ms, without {before['p99']:.1f} ms; "
        f"ratio {during['p99'] / before['p99']:.2f}" + (" (at most 2)" if least else "")
    )


@contextmanager
def apart(world: World, *, own: int, rest: set[int]) -> Iterator[None]:
    """The first host's processes on one core; the other hosts', and this one with all that it starts, on the rest."""
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, rest)
    try:
        for n, host in enumerate(world.hosts):
            pin(host.pid, {own} if n == 0 else rest)
        yield
    finally:
        os.sched_setaffinity(0, everywhere)
        for host in world.hosts:
            pin(host.pid, everywhere)


def pin(root: int | None, cores: set[int]) -> None:
    """A process, its threads and all its descendants; what they start later inherits it."""
    assert root is not None
    for pid in descendants(root):
        for thread in Path(f"/proc/{pid}/task").glob("*"):
            try:
                os.sched_setaffinity(int(thread.name), cores)
            except ProcessLookupError:
                continue  # it has ended


def descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found = [root]
    for one in found:
        found.extend(children.get(one, []))
    return found


def start_wrk(url: str, *, seconds: int, compressed: bool = False) -> subprocess.Popen[str]:
    """16 connections; with `compressed`, requests say which encodings a browser takes."""
    accepts = ["-H", "Accept-Encoding: gzip, deflate, br, zstd"] if compressed else []
    return subprocess.Popen(
        ["wrk", "-t1", "-c16", f"-d{seconds}s", "--latency", "--timeout", "20s", *accepts, url],
        stdout=subprocess.PIPE,
        text=True,
    )


def wrk(url: str, *, seconds: int, compressed: bool = False) -> dict[str, float]:
    return read_wrk(start_wrk(url, seconds=seconds, compressed=compressed).communicate(timeout=seconds + 60)[0])


def read_wrk(text: str) -> dict[str, float]:
    """Wrk's report as numbers: p99 in milliseconds; errors are socket errors and bad statuses together."""
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    assert p99, text
    unit = {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]]
    errors = sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    requests = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert requests
    assert rate
    return {
        "p99": float(p99[1]) * unit,
        "errors": errors + (int(bad[1]) if bad else 0),
        "requests": float(requests[1]),
        "rate": float(rate[1]),
    }
