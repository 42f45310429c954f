"""What visitors asked for, counted: cells of hosts and minutes come in, sums with rates and percentiles go out.

Times are in buckets that grow by an eighth of an octave (the host helper makes them), so sums of any cells are exact,
and a percentile is right within 5 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EIGHTHS = 8
SMALLEST = 0.1
"""Milliseconds: what is faster counts as so fast."""
ERROR = 5
"""The class of statuses that are the app's fault."""
By = Literal["release", "route", "host"]
BYS: tuple[By, ...] = ("release", "route", "host")
VITALS = ("LCP", "INP", "CLS", "FCP", "TTFB", "FID")


def lower_edge(bucket: int) -> float:
    """The milliseconds from which on a bucket counts."""
    return 0.0 if bucket <= 0 else SMALLEST * math.pow(2, bucket / EIGHTHS)


def upper_edge(bucket: int) -> float:
    """The milliseconds up to which a bucket counts."""
    return SMALLEST * math.pow(2, (bucket + 1) / EIGHTHS)


def quantile(buckets: Mapping[int, int], share: float) -> float | None:
    """The milliseconds below which `share` of all are; None when there are none. Inside a bucket they count as even."""
    total = sum(buckets.values())
    if not total:
        return None
    wanted, below = share * total, 0
    for bucket in sorted(buckets):
        count = buckets[bucket]
        if below + count >= wanted:
            low, high = lower_edge(bucket), upper_edge(bucket)
            return low + (high - low) * max(0.0, (wanted - below) / count)
        below += count
    return upper_edge(max(buckets))


def slower(buckets: Mapping[int, int], milliseconds: float) -> int:
    """How many surely took longer: those in buckets that begin there or later."""
    return sum(count for bucket, count in buckets.items() if lower_edge(bucket) >= milliseconds)


def plus(left: Mapping[int, int], right: Mapping[int, int]) -> dict[int, int]:
    """Both together."""
    return {bucket: left.get(bucket, 0) + right.get(bucket, 0) for bucket in sorted({*left, *right})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one host counted in one step: the requests of one release, route and class of status (2 is 2xx)."""

    start: float
    host: str
    release: str
    route: str
    status: int
    count: int
    size: int
    seconds: float
    buckets: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class VitalCell:
    """What pages told one host in one step of one metric: how many were good, in between and poor, and the values.

    CLS has no unit: its buckets hold 1,000 times its value.
    """

    start: float
    host: str
    release: str
    route: str
    name: str
    good: int
    middling: int
    poor: int
    buckets: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTraffic:
    """One host's answer, by its own clock: all that ended from `since` until just before `until`.

    `oldest` is the time of the first request that the host still knows, None while it has dropped none.
    """

    host: str
    now: float
    since: float
    until: float
    oldest: float | None
    cells: tuple[Cell, ...]
    vitals: tuple[VitalCell, ...]

    @property
    def seconds(self) -> float:
        """The seconds that it speaks of."""
        return max(0.0, self.until - max(self.since, self.since if self.oldest is None else self.oldest))


@dataclass(frozen=True, slots=True)
class Sum:
    """Requests added up."""

    count: int = 0
    errors: int = 0
    refused: int = 0
    size: int = 0
    seconds: float = 0.0
    buckets: Mapping[int, int] = field(default_factory=dict)

    @property
    def error_share(self) -> float:
        """The share of answers from 500 on."""
        return self.errors / self.count if self.count else 0.0

    @property
    def refused_share(self) -> float:
        """The share of answers from 400 to 499."""
        return self.refused / self.count if self.count else 0.0

    def to_json(self, *, seconds: float) -> dict[str, Any]:
        """For programs: counts, shares, and milliseconds."""
        return {
            "requests": self.count,
            "per_second": round(self.count / seconds, 3) if seconds else None,
            "errors": self.errors,
            "error_share": round(self.error_share, 6),
            "refused": self.refused,
            "bytes": self.size,
            **{f"p{round(share * 100)}_ms": _rounded(quantile(self.buckets, share)) for share in (0.5, 0.95, 0.99)},
        }


def total(cells: Iterable[Cell]) -> Sum:
    """All cells as one sum."""
    count = errors = refused = size = 0
    seconds = 0.0
    buckets: dict[int, int] = {}
    for cell in cells:
        count += cell.count
        size += cell.size
        seconds += cell.seconds
        errors += cell.count if cell.status == ERROR else 0
        refused += cell.count if cell.status == ERROR - 1 else 0
        for bucket, number in cell.buckets.items():
            buckets[bucket] = buckets.get(bucket, 0) + number
    return Sum(count, errors, refused, size, seconds, dict(sorted(buckets.items())))


def grouped(cells: Iterable[Cell], by: By) -> dict[str, Sum]:
    """A sum for each release, route or host; the one with the most requests first."""
    kinds: dict[str, list[Cell]] = {}
    for cell in cells:
        kinds.setdefault(getattr(cell, by), []).append(cell)
    sums = {name: total(some) for name, some in kinds.items()}
    return dict(sorted(sums.items(), key=lambda item: (-item[1].count, item[0])))


@dataclass(frozen=True, slots=True)
class VitalSum:
    """One metric, added up. `p75` is in milliseconds, of CLS without a unit."""

    name: str
    good: int
    middling: int
    poor: int
    p75: float | None

    @property
    def count(self) -> int:
        """How many pages told."""
        return self.good + self.middling + self.poor

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "name": self.name,
            "count": self.count,
            "p75": self.p75,
            "good": self.good,
            "needs_improvement": self.middling,
            "poor": self.poor,
        }


def vitals_by(cells: Iterable[VitalCell], by: By) -> dict[str, tuple[VitalSum, ...]]:
    """Each metric's sum for each release, route or host; the one of which most was told first."""
    kinds: dict[str, dict[str, list[VitalCell]]] = {}
    for cell in cells:
        kinds.setdefault(getattr(cell, by), {}).setdefault(cell.name, []).append(cell)
    sums = {
        key: tuple(_vital(name, metrics[name]) for name in VITALS if name in metrics) for key, metrics in kinds.items()
    }
    return dict(sorted(sums.items(), key=lambda item: (-sum(one.count for one in item[1]), item[0])))


def _vital(name: str, cells: Iterable[VitalCell]) -> VitalSum:
    good = middling = poor = 0
    buckets: dict[int, int] = {}
    for cell in cells:
        good, middling, poor = good + cell.good, middling + cell.middling, poor + cell.poor
        buckets = plus(buckets, cell.buckets)
    value = quantile(buckets, 0.75)
    if value is not None and name == "CLS":
        value /= 1000
    return VitalSum(name, good, middling, poor, _rounded(value))


def _rounded(value: float | None) -> float | None:
    """Three digits that mean something."""
    return None if value is None else float(f"{value:.3g}")
