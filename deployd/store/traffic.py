"""What visitors asked for: hosts' counts come in, kept by the minute, then by the hour, then no longer.

A row is one host's minute (or hour): what it counted as compressed JSON, how many seconds of it are known, and where
the host's own clock stood, so that the next question goes on there.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deployd.domain import counted
from deployd.domain.ids import HostName
from deployd.domain.traffic import HostTraffic
from deployd.store.tables import traffic as table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from deployd.domain.ids import AppName, EnvironmentName
    from deployd.domain.traffic import Cell, VitalCell
    from deployd.store.database import Database

MINUTE, HOUR = 60, 3600
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Row:
    """One host's minute or hour; `cursor` is by the host's clock, all else by ours."""

    start: float
    width: int
    seconds: float
    cursor: float
    cells: tuple[Cell, ...]
    vitals: tuple[VitalCell, ...]

    def plus(self, other: _Row) -> _Row:
        """Both together."""
        return replace(
            self,
            seconds=min(float(self.width), self.seconds + other.seconds),
            cursor=max(self.cursor, other.cursor),
            cells=counted.joined(counted.few_routes((*self.cells, *other.cells)), start=self.start),
            vitals=counted.joined_vitals((*self.vitals, *other.vitals), start=self.start),
        )


class Traffic:
    """Counts by app, environment, host and minute."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def cursor(self, app: AppName, environment: EnvironmentName, host: HostName) -> float | None:
        """Until when a host's counts are kept, by that host's clock; None before the first ones."""
        with self._database.read() as connection:
            return _cursor(connection, app, environment, host)

    def add(self, app: AppName, environment: EnvironmentName, found: HostTraffic, *, now: float) -> bool:
        """Keep what a host counted since the cursor. False when another process kept that already.

        `now` is our clock at the answer: hosts' clocks may be wrong by any amount.
        """
        offset = now - found.now
        rows = _minutes(found, offset)
        with self._database.write() as connection:
            known = _cursor(connection, app, environment, HostName(found.host))
            if known is not None and found.since < known:
                return False
            for row in rows:
                before = connection.execute(
                    sa.select(table).where(*_place(app, environment), table.c.host == found.host)
                    .where(table.c.start == row.start)
                ).first()  # fmt: skip
                kept = _row(before, found.host).plus(row) if before else row
                _put(connection, app, environment, found.host, kept)
        return True

    def window(
        self, app: AppName, environment: EnvironmentName, *, hosts: Sequence[HostName], since: float, now: float
    ) -> dict[HostName, HostTraffic]:
        """What is kept of each host since a moment of our clock, as if the host had answered now, by our clock."""
        query = (
            sa.select(table)
            .where(*_place(app, environment), table.c.host.in_([str(host) for host in hosts]))
            .where(table.c.start + table.c.width > since)
            .order_by(table.c.start)
        )
        rows: dict[str, list[_Row]] = {str(host): [] for host in hosts}
        with self._database.read() as connection:
            for one in connection.execute(query):
                rows[one.host].append(_row(one, one.host))
        return {HostName(host): _answer(host, some, now=now) for host, some in rows.items()}

    def roll_up(self, before: float) -> int:
        """Make hours of the minutes that are older than a moment; returns how many minutes went."""
        query = (
            sa.select(table)
            .where(table.c.width == MINUTE, table.c.start < before - before % HOUR)
            .order_by(table.c.start)  # the minute that an hour begins with has the hour's own key
            .limit(_AT_ONCE)
        )
        gone = 0
        while True:
            with self._database.write() as connection:
                found = connection.execute(query).all()
                for one in found:
                    row = _row(one, one.host)
                    hour = row.start - row.start % HOUR
                    mine = (*_place(one.app, one.environment), table.c.host == one.host)
                    connection.execute(sa.delete(table).where(*mine, table.c.start == one.start))
                    other = connection.execute(sa.select(table).where(*mine, table.c.start == hour)).first()
                    whole = _Row(hour, HOUR, 0.0, row.cursor, (), ()).plus(row)
                    if other:
                        whole = whole.plus(_row(other, one.host))
                    _put(connection, one.app, one.environment, one.host, whole)
            gone += len(found)
            if len(found) < _AT_ONCE:
                return gone

    def prune(self, before: float) -> int:
        """Remove what is older than a moment; returns how many rows."""
        with self._database.write() as connection:
            return int(connection.execute(sa.delete(table).where(table.c.start + table.c.width < before)).rowcount)


def _minutes(found: HostTraffic, offset: float) -> list[_Row]:
    """A host's answer as rows of our clock's minutes; the last one is there even when nothing was counted in it."""
    begin, end = found.since + offset, found.until + offset
    cells: dict[float, list[Cell]] = {}
    vitals: dict[float, list[VitalCell]] = {}
    for one in found.cells:
        cells.setdefault(_minute(max(begin, one.start + offset)), []).append(one)
    for two in found.vitals:
        vitals.setdefault(_minute(max(begin, two.start + offset)), []).append(two)
    starts = {*cells, *vitals, _minute(end)}
    starts |= {_minute(begin) + MINUTE * number for number in range(min(int((end - begin) / MINUTE) + 1, 1440))}
    return [
        _Row(
            start,
            MINUTE,
            max(0.0, min(end, start + MINUTE) - max(begin, start)),
            found.until,
            counted.joined(cells.get(start, ()), start=start),
            counted.joined_vitals(vitals.get(start, ()), start=start),
        )
        for start in sorted(starts)
    ]


def _minute(moment: float) -> float:
    return moment - moment % MINUTE


def _answer(host: str, rows: Sequence[_Row], *, now: float) -> HostTraffic:
    seconds = sum(row.seconds for row in rows)
    return HostTraffic(
        host=host,
        now=now,
        since=now - seconds,
        until=now,
        oldest=rows[0].start if rows else None,
        cells=counted.few_routes([cell for row in rows for cell in row.cells]),
        vitals=tuple(cell for row in rows for cell in row.vitals),
    )


def _place(app: str, environment: str) -> tuple[Any, Any]:
    return table.c.app == str(app), table.c.environment == str(environment)


def _cursor(connection: sa.Connection, app: str, environment: str, host: str) -> float | None:
    query = sa.select(sa.func.max(table.c.cursor)).where(*_place(app, environment), table.c.host == str(host))
    found = connection.execute(query).scalar()
    return None if found is None else float(found)


def _put(connection: sa.Connection, app: str, environment: str, host: str, row: _Row) -> None:
    fields = {
        "width": row.width,
        "seconds": row.seconds,
        "cursor": row.cursor,
        "counts": _packed(row.cells, row.vitals),
    }
    statement = insert(table).values(app=str(app), environment=str(environment), host=host, start=row.start, **fields)
    keys = [table.c.app, table.c.environment, table.c.host, table.c.start]
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=fields))


def _packed(cells: Iterable[Cell], vitals: Iterable[VitalCell]) -> bytes:
    text = json.dumps([counted.rows_of(cells), counted.vital_rows_of(vitals)], separators=(",", ":"))
    return zlib.compress(text.encode(), 1)


def _row(one: Any, host: str) -> _Row:
    series, vitals = json.loads(zlib.decompress(one.counts))
    found = counted.from_json(
        {"now": 0, "since": 0, "until": 0, "oldest": None, "series": series, "vitals": vitals}, host=host
    )
    return _Row(float(one.start), int(one.width), float(one.seconds), float(one.cursor), found.cells, found.vitals)
