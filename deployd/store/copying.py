"""From SQLite to PostgreSQL: what a state folder's file holds comes in, the same rows stand in an empty database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from deployd.errors import BusyError, UsageError
from deployd.store import tables

if TYPE_CHECKING:
    from deployd.store import Store

_NOT = frozenset({"apscheduler_jobs", "owners", "holders", "facts"})
"""Made again, or of the processes that run."""
_AT_ONCE = 500


def copy(source: Store, target: Store) -> dict[str, int]:
    """Copy all rows, in one transaction; returns how many of each table. The source is only read.

    Raises BusyError when a rollout is unfinished (the engine's steps are not copied), UsageError when the target holds
    something already.
    """
    unfinished = source.rollouts.unfinished()
    if unfinished:
        raise BusyError(
            f"rollout {unfinished[0].id} is unfinished, and its steps would stay behind",
            code="rollouts-unfinished",
            live="unchanged",
            fix="finish it here first: deployd resume",
        )
    target.keyring.check()
    copied: dict[str, int] = {}
    with source.database.read() as reading, target.database.write() as writing:
        for table in tables.metadata.sorted_tables:
            if table.name not in _NOT:
                _refuse_filled(writing, table, target.database.told)
                copied[table.name] = _copy(reading, writing, table)
    return copied


def _refuse_filled(connection: sa.Connection, table: sa.Table, name: str) -> None:
    if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None:
        raise UsageError(
            f"{name} has {table.name} already",
            code="store-not-empty",
            fix="copy into a new database: createdb --owner deployd deployd2",
        )


def _copy(reading: sa.Connection, writing: sa.Connection, table: sa.Table) -> int:
    count = 0
    for rows in reading.execute(sa.select(table)).mappings().partitions(_AT_ONCE):
        writing.execute(sa.insert(table), [dict(row) for row in rows])
        count += len(rows)
    number = table.autoincrement_column
    if count and number is not None:  # the next row's number comes after those that were copied
        newest = sa.select(sa.func.max(number)).scalar_subquery()
        writing.execute(sa.select(sa.func.setval(sa.func.pg_get_serial_sequence(table.name, number.name), newest)))
    return count
