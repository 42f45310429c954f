"""Rollouts: what was asked for, who runs it, how far it is, whether it was told to stop, and how it ended.

A second process writes `cancel_requested` and `superseded_by`; everything else is written by the owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from deployd.domain.ids import AppName, EnvironmentName, ReleaseId, RolloutId
from deployd.domain.rollout import Kind, RolloutRecord
from deployd.errors import NotFoundError
from deployd.store.moments import now
from deployd.store.tables import rollouts as table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.domain.rollout import Outcome
    from deployd.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequest:
    """Who told a rollout to stop (`cancelled_by`), and which rollout takes over (`superseded_by`)."""

    cancelled_by: str | None
    superseded_by: RolloutId | None


class Rollouts:
    """Rollouts by id; `finished` is None while one is not at its end."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        rollout: RolloutId,
        *,
        kind: Kind,
        app: AppName,
        environment: EnvironmentName,
        state: str,
        who: str,
        owner: str,
        wish: Mapping[str, Any],
        release: ReleaseId | None = None,
    ) -> None:
        """Keep a new rollout; `number` gives rollouts the order in which they were asked for."""
        number = sa.select(sa.func.coalesce(sa.func.max(table.c.number), 0) + 1).scalar_subquery()
        with self._database.write() as connection:
            connection.execute(
                sa.insert(table).values(
                    id=str(rollout),
                    number=number,
                    kind=kind,
                    app=str(app),
                    environment=str(environment),
                    state=state,
                    release=_text(release),
                    who=who,
                    created=now(),
                    owner=owner,
                    touched=False,
                    wish=dict(wish),
                )
            )

    def get(self, rollout: RolloutId) -> RolloutRecord:
        """One rollout; raises NotFoundError."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(table).where(table.c.id == str(rollout))).mappings().first()
        if row is None:
            raise NotFoundError(
                f"there is no rollout {rollout}",
                code="rollout-unknown",
                fix="deployd rollouts lists those there are",
            )
        return _record(row)

    def find(self, rollout: RolloutId) -> RolloutRecord | None:
        """One rollout, or None."""
        return next(iter(self._several(sa.select(table).where(table.c.id == str(rollout)))), None)

    def latest(
        self, app: AppName | None = None, environment: EnvironmentName | None = None, *, limit: int = 20
    ) -> tuple[RolloutRecord, ...]:
        """Rollouts of an app and environment (or of all), newest first."""
        return self._several(_place(app, environment).order_by(table.c.number.desc()).limit(limit))

    def unfinished(
        self, app: AppName | None = None, environment: EnvironmentName | None = None
    ) -> tuple[RolloutRecord, ...]:
        """Rollouts that are not at their end, oldest first."""
        return self._several(_place(app, environment).where(table.c.finished.is_(None)).order_by(table.c.number))

    def after(self, rollout: RolloutId) -> tuple[RolloutRecord, ...]:
        """Rollouts of the same app and environment that were asked for later, oldest first."""
        this = sa.select(table).where(table.c.id == str(rollout)).subquery()
        return self._several(
            sa.select(table)
            .join(this, sa.and_(table.c.app == this.c.app, table.c.environment == this.c.environment))
            .where(table.c.number > this.c.number)
            .order_by(table.c.number)
        )

    def bringing(self, release: ReleaseId) -> tuple[RolloutRecord, ...]:
        """The rollouts of a release, newest first."""
        return self._several(
            sa.select(table).where(table.c.release == str(release)).order_by(table.c.number.desc()).limit(50)
        )

    def state_of(self, rollout: RolloutId) -> str:
        """The state alone."""
        return self.get(rollout).state

    def set_state(self, rollout: RolloutId, state: str, *, touched: bool = False) -> None:
        """Keep how far it is; `touched` (from now on, what is live may have changed) is never unset."""
        self._update(rollout, state=state, **({"touched": True} if touched else {}))

    def set_owner(self, rollout: RolloutId, owner: str | None) -> None:
        """Keep which process runs it."""
        self._update(rollout, owner=owner)

    def set_release(self, rollout: RolloutId, release: ReleaseId) -> None:
        """Keep which release it brings."""
        self._update(rollout, release=str(release))

    def set_intent(self, rollout: RolloutId, intent: Mapping[str, Any]) -> None:
        """Keep what each host had before."""
        self._update(rollout, intent=dict(intent))

    def finish(
        self,
        rollout: RolloutId,
        *,
        state: str,
        outcome: Outcome,
        result: Mapping[str, Any],
        error: Mapping[str, Any] | None,
    ) -> None:
        """Keep how it ended."""
        self._update(
            rollout, state=state, outcome=outcome, result=dict(result), error=error and dict(error), finished=now()
        )

    def ask_to_stop(self, rollout: RolloutId, *, who: str, superseded_by: RolloutId | None = None) -> bool:
        """Ask an unfinished rollout to turn back; False when it is at its end already."""
        changes: dict[str, Any] = {"cancel_requested": who}
        if superseded_by is not None:
            changes["superseded_by"] = str(superseded_by)
        with self._database.write() as connection:
            done = connection.execute(
                sa.update(table).where(table.c.id == str(rollout), table.c.finished.is_(None)).values(**changes)
            )
            return bool(done.rowcount)

    def stop_request(self, rollout: RolloutId) -> StopRequest:
        """Whether it was asked to stop: two columns, read before each step."""
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(table.c.cancel_requested, table.c.superseded_by).where(table.c.id == str(rollout))
            ).first()
        if row is None:
            return StopRequest(cancelled_by=None, superseded_by=None)
        successor = RolloutId(row.superseded_by) if row.superseded_by else None
        return StopRequest(cancelled_by=row.cancel_requested, superseded_by=successor)

    def _update(self, rollout: RolloutId, **changes: Any) -> None:
        with self._database.write() as connection:
            connection.execute(sa.update(table).where(table.c.id == str(rollout)).values(**changes))

    def _several(self, query: sa.Select[Any]) -> tuple[RolloutRecord, ...]:
        with self._database.read() as connection:
            return tuple(_record(row) for row in connection.execute(query).mappings())


def _place(app: AppName | None, environment: EnvironmentName | None) -> sa.Select[Any]:
    query = sa.select(table)
    if app is not None:
        query = query.where(table.c.app == str(app))
    return query.where(table.c.environment == str(environment)) if environment is not None else query


def _text(value: str | None) -> str | None:
    return str(value) if value is not None else None


def _record(row: Any) -> RolloutRecord:
    return RolloutRecord(
        id=RolloutId(row["id"]),
        kind=row["kind"],
        app=AppName(row["app"]),
        environment=EnvironmentName(row["environment"]),
        state=row["state"],
        release=ReleaseId(row["release"]) if row["release"] else None,
        who=row["who"],
        created=row["created"],
        finished=row["finished"],
        outcome=row["outcome"],
        owner=row["owner"],
        cancel_requested=row["cancel_requested"],
        superseded_by=RolloutId(row["superseded_by"]) if row["superseded_by"] else None,
        touched=row["touched"],
        intent=row["intent"],
        error=row["error"],
        result=row["result"],
        wish=row["wish"],
    )
