"""Files and pages through the web server, beside the app's own server: requests a second, and processor time for each.

Both are on one host and asked in turn by the same program over http, 16 connections that stay open. Where that program
and the servers share few cores, the rate says as much about it as about them; the processor time does not.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import tempfile
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deployd import lab
from tests.bench.places import host_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.support.world import World

SECONDS = 5
ROUNDS = 3
PORT = 4000
IN_TURN = """
local paths, n = { %s }, 0
request = function() n = n + 1; return wrk.format("GET", paths[n %% #paths + 1]) end
"""
BROWSER = "gzip, deflate, br, zstd"


def files(world: World, *, say: Callable[[str], None]) -> None:
    """All hashed files of a page, in turn: as browsers ask for them, and for a program that takes none compressed."""
    with urllib.request.urlopen(f"http://{world.hosts[0].address}/", timeout=30) as answer:
        page = answer.read().decode().replace("&amp;", "&")
    found = re.findall(r'(?:src|href)="(/_next/static/[^"]+\.(?:js|css)(?:\?[^"]*)?)"', page)
    paths = list(dict.fromkeys(found))
    assert paths, page
    with bare(world):
        for how, encodings, least in (("as browsers ask", BROWSER, 5.0), ("not compressed", "", 1.0)):
            what = f"a page's {len(paths)} hashed files, {how}"
            compare(world, paths, what=what, encodings=encodings, least=least, say=say)


def pages(world: World, *, say: Callable[[str], None]) -> None:
    """A page that is made for each request."""
    with bare(world):
        compare(world, ["/dynamic"], what="dynamic page", encodings="", least=0.85, say=say)


@contextmanager
def bare(world: World) -> Iterator[None]:
    """The live release's server by itself, on a port of its own, as `node server.js` starts it."""
    current = f"/srv/deployd/apps/{world.name}/production/current"
    start = (
        f"cd {current}/ && systemd-run --quiet --collect --unit bench-node --setenv=PORT={PORT} --setenv=HOSTNAME=0.0.0.0 "
        f"--setenv=NODE_ENV=production --working-directory=$(readlink -f .) $(readlink -f .deployd/node) server.js; "
        f"for n in $(seq 300); do ss -tln | grep -q :{PORT} && break; sleep 0.1; done"
    )
    lab.run(*host_of(world), ["sh", "-c", start])
    try:
        yield
    finally:
        lab.run(*host_of(world), ["systemctl", "stop", "bench-node"], check=False)


def compare(
    world: World, paths: Sequence[str], *, what: str, encodings: str, least: float, say: Callable[[str], None]
) -> None:
    """One line: requests a second and processor time for each, through the web server and straight."""
    address = world.hosts[0].address
    sizes = [
        sum(size_of(f"http://{address}{port}{path}", encodings) for path in paths) / len(paths)
        for port in ("", f":{PORT}")
    ]
    told: dict[str, list[tuple[float, float]]] = {"deployd-web": [], "bench-node": []}
    for _ in range(ROUNDS):
        for unit, port in (("bench-node", f":{PORT}"), ("deployd-web", "")):
            before = cpu(world, unit)
            requests, rate = asked(f"http://{address}{port}", paths, encodings)
            told[unit].append((rate, (cpu(world, unit) - before) / requests * 1e6))
    web, node = told["deployd-web"], told["bench-node"]
    rates = statistics.median(a[0] / b[0] for a, b in zip(web, node, strict=True))
    times = statistics.median(b[1] / a[1] for a, b in zip(web, node, strict=True))
    say(
        f"visitors  {what} ({sizes[0]:.0f} bytes each, {sizes[1]:.0f} from Node.js): {median(web, 0):.0f}/s through the web server,"
        f" {median(node, 0):.0f}/s straight to Node.js; ratio {rates:.2f} (at least {least});"
        f" the web server's processor time {median(web, 1):.0f} us a request, Node.js's {median(node, 1):.0f}: {times:.1f}"
        " times"
    )


def asked(url: str, paths: Sequence[str], encodings: str) -> tuple[int, float]:
    """Requests in all, and in a second, for these paths in turn; each must have been answered well."""
    accepts = ["-H", f"Accept-Encoding: {encodings}"] if encodings else []
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(IN_TURN % ", ".join(json.dumps(path) for path in paths))
        script.flush()
        done = subprocess.run(
            ["wrk", "-t2", "-c16", f"-d{SECONDS}s", "--timeout", "20s", "-s", script.name, *accepts, url],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert "Non-2xx" not in done.stdout, done.stdout
    requests, rate = re.search(r"(\d+) requests in", done.stdout), re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert requests, done.stdout
    assert rate, done.stdout
    return int(requests[1]), float(rate[1])


def size_of(url: str, encodings: str) -> int:
    """How many bytes of body travel."""
    request = urllib.request.Request(url, headers={"Accept-Encoding": encodings} if encodings else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return len(answer.read())


def cpu(world: World, unit: str) -> float:
    """Seconds of processor time that a unit has used."""
    path = f"/sys/fs/cgroup/system.slice/{unit}.service/cpu.stat"
    text = lab.run(*host_of(world), ["cat", path]).text
    return int(text.split()[1]) / 1e6


def median(told: list[tuple[float, float]], column: int) -> float:
    return statistics.median(one[column] for one in told)
