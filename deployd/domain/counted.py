"""A host's counts as JSON and back, and several of them as one: rows as the host helper writes them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deployd.domain.traffic import Cell, HostTraffic, VitalCell, plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OTHER = "(other)"
MOST_ROUTES = 100
"""Of a minute, an hour or an answer."""


def from_json(data: Mapping[str, Any], *, host: str) -> HostTraffic:
    """One host's counts. Raises KeyError, TypeError or ValueError."""
    return HostTraffic(
        host=host,
        now=float(data["now"]),
        since=float(data["since"]),
        until=float(data["until"]),
        oldest=None if data["oldest"] is None else float(data["oldest"]),
        cells=tuple(_cell(one, host) for one in data["series"]),
        vitals=tuple(_vital(one, host) for one in data["vitals"]),
    )


def to_json(found: HostTraffic) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "now": found.now,
        "since": found.since,
        "until": found.until,
        "oldest": found.oldest,
        "series": rows_of(found.cells),
        "vitals": vital_rows_of(found.vitals),
    }


def rows_of(cells: Iterable[Cell]) -> list[list[Any]]:
    """Cells as rows."""
    return [
        [one.start, one.release, one.route, one.status, one.count, one.size, one.seconds, _texts(one.buckets)]
        for one in cells
    ]


def vital_rows_of(cells: Iterable[VitalCell]) -> list[list[Any]]:
    """Cells as rows."""
    return [
        [one.start, one.release, one.route, one.name, one.good, one.middling, one.poor, _texts(one.buckets)]
        for one in cells
    ]


def few_routes(cells: Sequence[Cell], *, most: int = MOST_ROUTES) -> tuple[Cell, ...]:
    """The same cells, with the routes that were asked for most; the others are `(other)`. A host tells few at a time,
    but who makes up addresses makes up others each minute.
    """
    weights: dict[str, int] = {}
    for cell in cells:
        weights[cell.route] = weights.get(cell.route, 0) + cell.count
    if len(weights) <= most:
        return tuple(cells)
    kept = {OTHER, *sorted(weights, key=lambda route: (-weights[route], route))[: most - 1]}
    return tuple(cell if cell.route in kept else replace(cell, route=OTHER) for cell in cells)


def joined(cells: Iterable[Cell], *, start: float) -> tuple[Cell, ...]:
    """Cells of one host with those of one release, route and class as one, all of a step that begins at `start`."""
    kinds: dict[tuple[str, str, int], Cell] = {}
    for cell in cells:
        key = (cell.release, cell.route, cell.status)
        other = kinds.get(key)
        kinds[key] = Cell(
            start=start,
            host=cell.host,
            release=cell.release,
            route=cell.route,
            status=cell.status,
            count=cell.count + (other.count if other else 0),
            size=cell.size + (other.size if other else 0),
            seconds=round(cell.seconds + (other.seconds if other else 0), 4),
            buckets=plus(cell.buckets, other.buckets if other else {}),
        )
    return tuple(kinds[key] for key in sorted(kinds))


def joined_vitals(cells: Iterable[VitalCell], *, start: float) -> tuple[VitalCell, ...]:
    """The same for what pages told."""
    kinds: dict[tuple[str, str, str], VitalCell] = {}
    for cell in cells:
        key = (cell.release, cell.route, cell.name)
        other = kinds.get(key)
        kinds[key] = VitalCell(
            start=start,
            host=cell.host,
            release=cell.release,
            route=cell.route,
            name=cell.name,
            good=cell.good + (other.good if other else 0),
            middling=cell.middling + (other.middling if other else 0),
            poor=cell.poor + (other.poor if other else 0),
            buckets=plus(cell.buckets, other.buckets if other else {}),
        )
    return tuple(kinds[key] for key in sorted(kinds))


def _cell(row: list[Any], host: str) -> Cell:
    start, release, route, status, count, size, seconds, buckets = row
    return Cell(
        start=float(start),
        host=host,
        release=str(release),
        route=str(route),
        status=int(status),
        count=int(count),
        size=int(size),
        seconds=float(seconds),
        buckets=_buckets(buckets),
    )


def _vital(row: list[Any], host: str) -> VitalCell:
    start, release, route, name, good, middling, poor, buckets = row
    return VitalCell(
        start=float(start),
        host=host,
        release=str(release),
        route=str(route),
        name=str(name),
        good=int(good),
        middling=int(middling),
        poor=int(poor),
        buckets=_buckets(buckets),
    )


def _buckets(data: Mapping[str, Any]) -> dict[int, int]:
    return {int(bucket): int(count) for bucket, count in data.items()}


def _texts(buckets: Mapping[int, int]) -> dict[str, int]:
    return {str(bucket): count for bucket, count in buckets.items()}
