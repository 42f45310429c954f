"""The web server's lines come in, a small series goes out: counts and times by step, release, route and status class.

Times go into buckets that grow by an eighth of an octave, so series of hosts and minutes add up, and a percentile is
right within 5 %.
"""

from __future__ import annotations

import json
import math

from deployd_host.routes import NOT_FOUND, OTHER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from deployd_host.replies import Json
    from deployd_host.routes import Routes

EIGHTHS = 8  # buckets of one octave
SMALLEST = 0.1  # milliseconds
BUCKETS = 192
MOST_ROUTES = 60
_MOST_WHILE_COUNTING = 2000
_MOST_RELEASES = 40
_MOST_FIRSTS = 50_000

# Where a page is good, and from where on it is poor, as web.dev/vitals has it; milliseconds, and CLS without a unit.
THRESHOLDS = {
    "LCP": (2500, 4000),
    "INP": (200, 500),
    "CLS": (0.1, 0.25),
    "FCP": (1800, 3000),
    "TTFB": (800, 1800),
    "FID": (100, 300),
}
MOST_BEACONS = 600  # of one app in a minute: what visitors send is theirs to make up
_LONGEST_BEACON = 4096
_CLS = 1000  # a layout shift has no unit: 0.1 is counted as 100 ms would be


def bucket(milliseconds: float) -> int:
    """The bucket of a time: `i` holds from 0.1 ms * 2^(i/8) on."""
    if milliseconds <= SMALLEST:
        return 0
    return min(BUCKETS - 1, int(math.log2(milliseconds / SMALLEST) * EIGHTHS))


class Tally:
    """Counts requests. `step` is in seconds, 0 for one step; times without `warm` leave out each route's first."""

    def __init__(self, since: float, step: int, routes: Callable[[str], Routes], *, warm: bool = True) -> None:
        self.since = since
        self.step = step
        self.routes = routes
        self.skips_first = not warm
        self.seen: set[tuple[str, str]] = set()
        self.cells: dict[tuple[float, str, str, int], list[Any]] = {}
        self.known: dict[str, bool] = {}
        self.weights: dict[str, int] = {}
        self.releases: dict[str, Routes] = {}
        self.skipped = 0

    def add(self, moment: float, line: bytes) -> None:
        """Count one line; one that is none of ours is skipped."""
        try:
            entry = json.loads(line)
            release, path = str(entry["release"]), str(entry["path"])
            status, seconds, size = int(entry["status"]), float(entry["duration"]), int(entry["size"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.skipped += 1
            return
        if not release or not path.startswith("/") or not 0 <= seconds < 1e7 or not 100 <= status <= 599:
            self.skipped += 1
            return
        route = self._route(release, path, status)
        if route is None:
            self.skipped += 1
            return
        key = (self._start(moment), release, route, status // 100)
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = [0, 0, 0.0, {}]
        cell[0] += 1
        cell[1] += size
        self.weights[route] = self.weights.get(route, 0) + 1
        if status == 101 or entry.get("stream"):
            return  # how long a socket or a stream of events was open tells nothing
        if self.skips_first and self._is_first(release, path, route):
            return
        cell[2] += seconds
        at = bucket(seconds * 1000)
        cell[3][at] = cell[3].get(at, 0) + 1

    def _is_first(self, release: str, path: str, route: str) -> bool:
        """Whether this is slow only because the release is new here."""
        name = self.releases[release].first_of(path, route)
        if name is None or (release, name) in self.seen:
            return name is None
        if len(self.seen) < _MOST_FIRSTS:
            self.seen.add((release, name))
        return True

    def _start(self, moment: float) -> float:
        return moment - moment % self.step if self.step else self.since

    def _route(self, release: str, path: str, status: int) -> str | None:
        routes = self.releases.get(release)
        if routes is None:
            if len(self.releases) >= _MOST_RELEASES:
                return None
            routes = self.releases[release] = self.routes(release)
        route, known = routes.of(path)
        if not known and status == 404:
            return NOT_FOUND
        if route not in self.known:
            if len(self.known) >= _MOST_WHILE_COUNTING:
                return OTHER
            self.known[route] = known
        return route

    def series(self) -> list[list[Any]]:
        """`[start, release, route, class, count, bytes, seconds, {bucket: count}]`, with few routes: rare ones are one.

        A route of the app's own list goes before one that visitors may have made up.
        """
        ranked = sorted(self.known, key=lambda route: (not self.known[route], -self.weights.get(route, 0), route))
        kept = {*ranked[:MOST_ROUTES], NOT_FOUND}
        merged: dict[tuple[float, str, str, int], list[Any]] = {}
        for (start, release, route, status), cell in self.cells.items():
            key = (start, release, route if route in kept else OTHER, status)
            found = merged.get(key)
            if found is None:
                merged[key] = [*cell[:3], dict(cell[3])]
                continue
            for at in range(3):
                found[at] += cell[at]
            _add(found[3], cell[3])
        return [
            [start, release, route, status, count, size, round(seconds, 4), _named(buckets)]
            for (start, release, route, status), (count, size, seconds, buckets) in sorted(merged.items())
        ]


class Vitals:
    """Counts what pages told of themselves. Whoever visits may send anything, so little of it is believed."""

    def __init__(self, since: float, step: int, routes: Callable[[str], Routes]) -> None:
        self.since = since
        self.step = step
        self.routes = routes
        self.releases: dict[str, Routes] = {}
        self.minutes: dict[int, int] = {}
        self.cells: dict[tuple[float, str, str, str], list[Any]] = {}
        self.weights: dict[str, int] = {}
        self.seen: set[str] = set()
        self.skipped = 0

    def add(self, moment: float, line: bytes) -> None:
        """Count one beacon; one that is malformed, repeated, or too much is skipped."""
        minute = int(moment // 60)
        self.minutes[minute] = self.minutes.get(minute, 0) + 1
        try:
            entry = json.loads(line)
            release = str(entry["release"])
            found = beacon_of(entry["beacon"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            found, release = None, ""
        if found is None or not release or self.minutes[minute] > MOST_BEACONS:
            self.skipped += 1
            return
        name, value, path, identity = found
        if identity and identity in self.seen:
            self.skipped += 1  # sendBeacon may send the same again, and CLS is told as it grows
            return
        if identity:
            self.seen.add(identity)
        routes = self.releases.get(release)
        if routes is None:
            if len(self.releases) >= _MOST_RELEASES:
                self.skipped += 1
                return
            routes = self.releases[release] = self.routes(release)
        route, known = routes.of(path)
        route = route if known or routes.is_empty else OTHER
        start = moment - moment % self.step if self.step else self.since
        cell = self.cells.setdefault((start, release, route, name), [0, 0, 0, {}])
        self.weights[route] = self.weights.get(route, 0) + 1
        good, poor = THRESHOLDS[name]
        cell[0 if value <= good else 2 if value > poor else 1] += 1
        at = bucket(value * _CLS if name == "CLS" else value)
        cell[3][at] = cell[3].get(at, 0) + 1

    def series(self) -> list[list[Any]]:
        """`[start, release, route, name, good, middling, poor, {bucket: count}]`, with few routes."""
        kept = set(sorted(self.weights, key=lambda route: (-self.weights[route], route))[:MOST_ROUTES])
        merged: dict[tuple[float, str, str, str], list[Any]] = {}
        for (start, release, route, name), cell in self.cells.items():
            found = merged.setdefault((start, release, route if route in kept else OTHER, name), [0, 0, 0, {}])
            for at in range(3):
                found[at] += cell[at]
            _add(found[3], cell[3])
        return [[*key, *cell[:3], _named(cell[3])] for key, cell in sorted(merged.items())]


def beacon_of(text: str) -> tuple[str, float, str, str] | None:
    """A beacon's metric, value, path and id; None for one that is not as Next.js's `useReportWebVitals` gives it."""
    if len(text) > _LONGEST_BEACON:
        return None
    beacon = json.loads(text)
    name, value, path, identity = (beacon.get(field) for field in ("name", "value", "path", "id"))
    if name not in THRESHOLDS or isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not 0 <= value < 1e7:  # NaN is no number between two
        return None
    path = path if isinstance(path, str) and path.startswith("/") and len(path) <= 800 else "/"
    path = path.partition("?")[0].partition("#")[0]
    return name, float(value), path, identity[:80] if isinstance(identity, str) else ""


def _add(to: dict[int, int], counts: dict[int, int]) -> None:
    for at, count in counts.items():
        to[at] = to.get(at, 0) + count


def _named(buckets: dict[int, int]) -> Json:
    return {str(at): count for at, count in sorted(buckets.items())}


def fill(tally: Tally | Vitals, lines: Iterable[tuple[float, bytes]]) -> None:
    """Count all of these."""
    for moment, line in lines:
        tally.add(moment, line)
