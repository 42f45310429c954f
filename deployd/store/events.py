"""Events of rollouts, numbered from 1 within each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deployd.domain.ids import RolloutId
from deployd.store.tables import events as table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployd.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One event as it was told."""

    rollout: RolloutId
    seq: int
    time: str
    event: str
    fields: Mapping[str, Any]


class Events:
    """What was told of each rollout."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, events: Sequence[StoredEvent]) -> None:
        """Keep some events, in one transaction."""
        if not events:
            return
        rows = [
            {
                "rollout": str(event.rollout),
                "seq": event.seq,
                "time": event.time,
                "event": event.event,
                "fields": dict(event.fields),
            }
            for event in events
        ]
        with self._database.write(later=True) as connection:
            connection.execute(insert(table).on_conflict_do_nothing(), rows)

    def last(self, rollout: RolloutId) -> int:
        """The number of the last event; 0 when there is none."""
        with self._database.read() as connection:
            found = connection.execute(sa.select(sa.func.max(table.c.seq)).where(table.c.rollout == str(rollout)))
            return found.scalar() or 0

    def of(self, rollout: RolloutId, *, after: int = 0) -> tuple[StoredEvent, ...]:
        """The events of a rollout, in order, from the one after number `after`."""
        query = sa.select(table).where(table.c.rollout == str(rollout), table.c.seq > after).order_by(table.c.seq)
        with self._database.read() as connection:
            return tuple(
                StoredEvent(
                    rollout=RolloutId(row.rollout), seq=row.seq, time=row.time, event=row.event, fields=row.fields
                )
                for row in connection.execute(query)
            )
