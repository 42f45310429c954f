"""Hosts' counts come in, counters for Prometheus go out: few labels, whatever visitors and releases come.

Counters grow from the start of this daemon on; a release that is no longer among the newest of its place loses its
own, and routes are at most as many as the hosts tell apart.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from deployd.domain.traffic import VITALS, upper_edge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.core import Metric

    from deployd.domain.ids import AppName, EnvironmentName
    from deployd.domain.traffic import HostTraffic

RELEASES = 3
ROUTES = 100
_OTHER = "(other)"
_LIMITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
Place = tuple["AppName", "EnvironmentName"]
_Key = tuple[str, ...]


class Visitors(Collector):
    """Adds up what `count` is given since the start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[_Key, int] = {}
        self._bytes: dict[_Key, int] = {}
        self._times: dict[_Key, tuple[list[int], float]] = {}
        self._vitals: dict[_Key, int] = {}
        self._routes: dict[_Key, set[str]] = {}

    def count(self, place: Place, found: HostTraffic) -> None:
        """Add one host's counts."""
        where = (str(place[0]), str(place[1]))
        with self._lock:
            for cell in found.cells:
                route = self._route(where, cell.route)
                key = (*where, cell.release, route, f"{cell.status}xx")
                self._requests[key] = self._requests.get(key, 0) + cell.count
                sent = (*where, cell.release)
                self._bytes[sent] = self._bytes.get(sent, 0) + cell.size
                counts, seconds = self._times.setdefault(sent, ([0] * (len(_LIMITS) + 1), 0.0))
                _spread(counts, cell.buckets)
                self._times[sent] = (counts, seconds + cell.seconds)
            for one in found.vitals:
                if one.name in VITALS:
                    for rating in ("good", "middling", "poor"):
                        told = (*where, one.release, self._route(where, one.route), one.name, rating)
                        self._vitals[told] = self._vitals.get(told, 0) + int(getattr(one, rating))
            self._forget(where)

    def _route(self, where: _Key, route: str) -> str:
        known = self._routes.setdefault(where, set())
        if route not in known and len(known) >= ROUTES:
            return _OTHER
        known.add(route)
        return route

    def _forget(self, where: _Key) -> None:
        releases = sorted({key[2] for key in self._bytes if key[:2] == where}, reverse=True)
        for old in releases[RELEASES:]:
            gone = (*where, old)
            for kept in (self._requests, self._bytes, self._times, self._vitals):
                for key in [key for key in kept if key[:3] == gone]:
                    del kept[key]

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        place = ("app", "environment", "release")
        requests = CounterMetricFamily(
            "deployd_visitor_requests", "Requests that the web servers answered", labels=(*place, "route", "status")
        )
        sent = CounterMetricFamily("deployd_visitor_sent_bytes", "Bytes of answers", labels=place)
        seconds = HistogramMetricFamily("deployd_visitor_seconds", "From request to last byte", labels=place)
        vitals = CounterMetricFamily(
            "deployd_web_vitals", "What pages told of themselves", labels=(*place, "route", "metric", "rating")
        )
        with self._lock:
            _fill(requests, self._requests)
            _fill(sent, self._bytes)
            for key, (counts, total) in self._times.items():
                seconds.add_metric(key, _cumulated(counts), sum_value=total)
            for key, number in self._vitals.items():
                vitals.add_metric([*key[:5], key[5].replace("middling", "needs-improvement")], number)
        yield from (requests, sent, seconds, vitals)


def _fill(family: CounterMetricFamily, numbers: Mapping[_Key, int]) -> None:
    for key, number in numbers.items():
        family.add_metric(key, number)


def _spread(counts: list[int], buckets: Mapping[int, int]) -> None:
    for bucket, count in buckets.items():
        edge = upper_edge(bucket) / 1000
        at = next((number for number, limit in enumerate(_LIMITS) if edge <= limit), len(_LIMITS))
        counts[at] += count


def _cumulated(counts: list[int]) -> list[tuple[str, float]]:
    total, found = 0, []
    for limit, count in zip((*(str(one) for one in _LIMITS), "+Inf"), counts, strict=True):
        total += count
        found.append((limit, float(total)))
    return found
