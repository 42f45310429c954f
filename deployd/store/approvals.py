"""Approvals: rollouts that are prepared and wait for a person to say yes, and who said what."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deployd.domain.ids import AppName, EnvironmentName, ReleaseId, RolloutId
from deployd.domain.schedule import Approval
from deployd.errors import NotFoundError
from deployd.store.moments import now
from deployd.store.tables import approvals as table

if TYPE_CHECKING:
    from deployd.domain.schedule import ApprovalState
    from deployd.store.database import Database


class Approvals:
    """Approvals by the rollout that asks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, approval: Approval) -> None:
        """Keep that a rollout waits; an older one of the same place is superseded by it. Twice is once."""
        fields = {name: getattr(approval, name) for name in Approval.__slots__}
        for name in ("rollout", "app", "environment", "release"):
            fields[name] = str(fields[name])
        with self._database.write() as connection:
            done = connection.execute(insert(table).values(**fields).on_conflict_do_nothing())
            if done.rowcount:
                connection.execute(
                    _pending(approval.app, approval.environment)
                    .where(table.c.rollout != str(approval.rollout))
                    .values(state="superseded", decided=now(), reason=f"rollout {approval.rollout} asks now")
                )

    def get(self, rollout: RolloutId) -> Approval:
        """One approval; raises NotFoundError."""
        found = self.find(rollout)
        if found is None:
            raise NotFoundError(
                f"rollout {rollout} asks for no approval",
                code="approval-unknown",
                fix="deployd approvals lists those that do",
            )
        return found

    def find(self, rollout: RolloutId) -> Approval | None:
        """One approval, or None."""
        return next(iter(self._several(sa.select(table).where(table.c.rollout == str(rollout)))), None)

    def pending(self, app: AppName | None = None, environment: EnvironmentName | None = None) -> tuple[Approval, ...]:
        """Those that wait, oldest first."""
        found = self._several(_placed(app, environment).where(table.c.state == "pending").order_by(table.c.created))
        return tuple(one for one in found if one.state == "pending")

    def latest(
        self, app: AppName | None = None, environment: EnvironmentName | None = None, *, limit: int = 50
    ) -> tuple[Approval, ...]:
        """All of them, newest first."""
        return self._several(_placed(app, environment).order_by(table.c.created.desc()).limit(limit))

    def decide(self, rollout: RolloutId, state: ApprovalState, *, who: str, reason: str | None = None) -> bool:
        """Keep what a person said; False when it does not wait any more."""
        moment = now()
        statement = sa.update(table).where(
            table.c.rollout == str(rollout), table.c.state == "pending", table.c.until > moment
        )
        return self._change(statement.values(state=state, decided_by=who, decided=moment, reason=reason))

    def set_activation(self, rollout: RolloutId, activation: RolloutId) -> None:
        """Keep which rollout brings the approved release live."""
        self._change(sa.update(table).where(table.c.rollout == str(rollout)).values(activation=str(activation)))

    def supersede(self, app: AppName, environment: EnvironmentName, *, by: RolloutId, created_before: str) -> None:
        """A newer release is live: what waited since before it waits no more."""
        statement = _pending(app, environment).where(table.c.created < created_before)
        self._change(statement.values(state="superseded", decided=now(), reason=f"rollout {by} went live"))

    def expire(self) -> tuple[Approval, ...]:
        """End those whose time is over; returns them."""
        moment = now()
        late = sa.and_(table.c.state == "pending", table.c.until <= moment)
        with self._database.read() as connection:
            if connection.execute(sa.select(table.c.rollout).where(late).limit(1)).first() is None:
                return ()
        with self._database.write() as connection:
            found = tuple(_approval(row) for row in connection.execute(sa.select(table).where(late)).mappings())
            if found:
                connection.execute(sa.update(table).where(late).values(state="expired", decided=moment))
        return found

    def _change(self, statement: sa.Update) -> bool:
        with self._database.write() as connection:
            return bool(connection.execute(statement).rowcount)

    def _several(self, query: sa.Select[Any]) -> tuple[Approval, ...]:
        with self._database.read() as connection:
            return tuple(_approval(row) for row in connection.execute(query).mappings())


def _pending(app: AppName, environment: EnvironmentName) -> sa.Update:
    return sa.update(table).where(
        table.c.app == str(app), table.c.environment == str(environment), table.c.state == "pending"
    )


def _placed(app: AppName | None, environment: EnvironmentName | None) -> sa.Select[Any]:
    query = sa.select(table)
    if app is not None:
        query = query.where(table.c.app == str(app))
    return query.where(table.c.environment == str(environment)) if environment is not None else query


def _approval(row: Any) -> Approval:
    fields = {
        **row,
        "rollout": RolloutId(row["rollout"]),
        "app": AppName(row["app"]),
        "environment": EnvironmentName(row["environment"]),
        "release": ReleaseId(row["release"]),
        "activation": RolloutId(row["activation"]) if row["activation"] else None,
    }
    found = Approval(**fields)
    return replace(found, state="expired") if found.state == "pending" and found.until <= now() else found
