"""Deliveries of forges: each is kept once, in one transaction with what it asks for, and longer than any rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deployd.domain.ids import RolloutId
from deployd.store.moments import now
from deployd.store.queue import insert_ask, write_audit
from deployd.store.tables import deliveries as table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployd.domain.ask import Ask
    from deployd.store.database import Database


# made once: in a burst, putting a statement together takes longer than doing it
_KEEP = insert(table).on_conflict_do_nothing(index_elements=[table.c.app, table.c.delivery])
_ASKED = (
    sa.update(table)
    .where(table.c.app == sa.bindparam("of_app"), table.c.delivery == sa.bindparam("of_delivery"))
    .values(asked=sa.bindparam("asked"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A delivery as it came: `what` is the read value as JSON, `asks` what it starts, `reason` why nothing."""

    app: str
    delivery: str
    forge: str
    origin: str
    what: Mapping[str, Any]
    asks: tuple[Ask, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of it: the ids of its rollouts, and whether it was new."""

    rollouts: tuple[RolloutId, ...]
    fresh: bool
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A kept delivery."""

    app: str
    delivery: str
    forge: str
    received: str
    what: Mapping[str, Any]
    rollouts: tuple[RolloutId, ...]
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """As in `hook deliveries --json`."""
        return {
            "app": self.app,
            "delivery": self.delivery,
            "forge": self.forge,
            "received": self.received,
            "event": self.what.get("is"),
            "rollouts": list(self.rollouts),
            "reason": self.reason,
        }


class Deliveries:
    """Deliveries by app and id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, arrivals: Sequence[Arrival]) -> tuple[Taken, ...]:
        """Keep several deliveries and their asks, all in one transaction; one that was there before starts nothing."""
        entries: list[dict[str, Any]] = []
        with self._database.write() as connection:
            taken = tuple(_take(connection, one, entries) for one in arrivals)
            write_audit(connection, entries)
        return taken

    def latest(self, app: str, *, limit: int = 20) -> tuple[Delivery, ...]:
        """Deliveries, newest first."""
        query = sa.select(table).where(table.c.app == app).order_by(table.c.number.desc()).limit(limit)
        with self._database.read() as connection:
            return tuple(
                Delivery(
                    app=row.app,
                    delivery=row.delivery,
                    forge=row.forge,
                    received=row.received,
                    what=row.what,
                    rollouts=tuple(RolloutId(one) for one in row.asked),
                    reason=row.reason,
                )
                for row in connection.execute(query)
            )


def _take(connection: sa.Connection, arrival: Arrival, entries: list[dict[str, Any]]) -> Taken:
    ids = tuple(RolloutId.new() for _ in arrival.asks)
    fields: dict[str, Any] = {
        "app": arrival.app,
        "delivery": arrival.delivery,
        "forge": arrival.forge,
        "received": now(),
        "what": dict(arrival.what),
        "asked": [str(one) for one in ids],
        "reason": arrival.reason,
    }
    done = connection.execute(_KEEP, fields)
    here = (table.c.app == arrival.app, table.c.delivery == arrival.delivery)
    if not done.rowcount:
        row = connection.execute(sa.select(table.c.asked, table.c.reason).where(*here)).one()
        return Taken(rollouts=tuple(RolloutId(one) for one in row.asked), fresh=False, reason=row.reason)
    rollouts = tuple(
        insert_ask(connection, ask, origin=arrival.origin, rollout=id_, entries=entries)[0]
        for ask, id_ in zip(arrival.asks, ids, strict=True)
    )
    if rollouts != ids:  # one of them had been asked for before, by another delivery
        asked = [str(one) for one in rollouts]
        connection.execute(_ASKED, {"of_app": arrival.app, "of_delivery": arrival.delivery, "asked": asked})
    return Taken(rollouts=rollouts, fresh=True, reason=arrival.reason)
