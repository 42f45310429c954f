"""Previews: pull requests that are open, what was prepared for each, and where it can be seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deployd.domain.ids import AppName, ReleaseId, RolloutId
from deployd.store.moments import now
from deployd.store.tables import previews as table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.store.database import Database

PreviewState = Literal["held", "asked", "ready", "failed", "closed", "gone"]
"""held: a fork's, nobody approved its commit. closed: to be removed. gone: removed from the hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One pull request's preview. `pull` is the pull request as JSON; `approved` is the commit somebody said yes to."""

    app: AppName
    number: int
    forge: str
    pull: Mapping[str, Any]
    state: PreviewState
    approved: str | None
    rollout: RolloutId | None
    release: ReleaseId | None
    address: str | None
    comment: str | None
    opened: str
    updated: str

    def to_json(self) -> dict[str, Any]:
        """As in `preview list --json`."""
        return {
            "app": self.app,
            "number": self.number,
            "title": self.pull.get("title"),
            "url": self.pull.get("url"),
            "branch": self.pull.get("branch"),
            "commit": self.pull.get("commit"),
            "fork": self.pull.get("fork"),
            "state": self.state,
            "rollout": self.rollout,
            "release": self.release,
            "address": self.address,
            "updated": self.updated,
        }


class Previews:
    """Previews by app and number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, app: AppName, number: int, *, forge: str, pull: Mapping[str, Any], state: PreviewState) -> Preview:
        """Keep a pull request as it is now."""
        moment = now()
        fields = {"forge": forge, "pull": dict(pull), "state": state, "updated": moment}
        statement = insert(table).values(app=str(app), number=number, opened=moment, **fields)
        with self._database.write() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=[table.c.app, table.c.number], set_=fields)
            )
        found = self.find(app, number)
        assert found is not None  # noqa: S101 - it was written above
        return found

    def change(self, app: AppName, number: int, *, only: PreviewState | None = None, **fields: Any) -> bool:
        """Change `state`, `approved`, `rollout`, `release`, `address`, `comment`; with `only`, if that is its state."""
        values = {key: None if value is None else str(value) for key, value in fields.items()}
        statement = sa.update(table).where(table.c.app == str(app), table.c.number == number)
        if only is not None:
            statement = statement.where(table.c.state == only)
        with self._database.write() as connection:
            return bool(connection.execute(statement.values(**values)).rowcount)

    def find(self, app: AppName, number: int) -> Preview | None:
        """One preview, or None."""
        query = sa.select(table).where(table.c.app == str(app), table.c.number == number)
        return next(iter(self._several(query)), None)

    def by_rollout(self, rollout: RolloutId) -> Preview | None:
        """The preview that a rollout prepares, or None."""
        return next(iter(self._several(sa.select(table).where(table.c.rollout == str(rollout)))), None)

    def all(self, app: AppName | None = None) -> tuple[Preview, ...]:
        """Those that are not gone, newest first."""
        query = sa.select(table).where(table.c.state != "gone").order_by(table.c.updated.desc())
        return self._several(query if app is None else query.where(table.c.app == str(app)))

    def _several(self, query: sa.Select[Any]) -> tuple[Preview, ...]:
        with self._database.read() as connection:
            return tuple(_preview(row) for row in connection.execute(query))


def _preview(row: Any) -> Preview:
    return Preview(
        app=AppName(row.app),
        number=row.number,
        forge=row.forge,
        pull=row.pull,
        state=row.state,
        approved=row.approved,
        rollout=RolloutId(row.rollout) if row.rollout else None,
        release=ReleaseId(row.release) if row.release else None,
        address=row.address,
        comment=row.comment,
        opened=row.opened,
        updated=row.updated,
    )
