"""Schedules: what is to happen when, and what came of each run. The clock's own jobs are made again from these rows.

A run is begun (`begin`: nobody can cancel or confirm it any more), asked under a key of its own, and ended (`end_run`).
Killed in between, it is begun still, and whoever comes next asks again under the same key: so it happens once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deployd.domain.ids import AppName, EnvironmentName, ReleaseId, RolloutId
from deployd.domain.schedule import Schedule, ScheduleRun
from deployd.errors import NotFoundError
from deployd.store.moments import now, text_of
from deployd.store.tables import schedule_runs as runs
from deployd.store.tables import schedules as table

if TYPE_CHECKING:
    from datetime import datetime

    from deployd.domain.schedule import RunOutcome, ScheduleState
    from deployd.store.database import Database


class Schedules:
    """Schedules by id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, schedule: Schedule) -> None:
        """Keep a schedule; adding it twice does no harm."""
        fields = {name: getattr(schedule, name) for name in Schedule.__slots__}
        for name in ("app", "environment", "release", "rollout"):
            fields[name] = str(fields[name]) if fields[name] is not None else None
        fields["wish"] = dict(schedule.wish) if schedule.wish is not None else None
        with self._database.write() as connection:
            connection.execute(insert(table).values(**fields).on_conflict_do_nothing())

    def get(self, schedule: str) -> Schedule:
        """One schedule; raises NotFoundError."""
        found = self.find(schedule)
        if found is None:
            raise NotFoundError(
                f"there is no schedule {schedule}",
                code="schedule-unknown",
                fix="deployd schedule list shows those there are",
            )
        return found

    def find(self, schedule: str) -> Schedule | None:
        """One schedule, or None."""
        return next(iter(self._several(sa.select(table).where(table.c.id == schedule))), None)

    def active(self, app: AppName | None = None, environment: EnvironmentName | None = None) -> tuple[Schedule, ...]:
        """Those that have a run to come or one that has begun, the next one first."""
        query = sa.select(table).where(sa.or_(table.c.state == "active", table.c.firing.is_not(None)))
        return self._several(_placed(query, app, environment).order_by(table.c.next_at))

    def latest(
        self, app: AppName | None = None, environment: EnvironmentName | None = None, *, limit: int = 50
    ) -> tuple[Schedule, ...]:
        """All of them, newest first."""
        return self._several(_placed(sa.select(table), app, environment).order_by(table.c.created.desc()).limit(limit))

    def unconfirmed(self, app: AppName, environment: EnvironmentName) -> Schedule | None:
        """The way back that is taken unless somebody confirms, of the rollout that is live now."""
        found = [one for one in self.active(app, environment) if one.purpose == "unconfirmed"]
        return next((one for one in found if one.state == "active" and one.next_at), None)

    def end(self, schedule: str, state: ScheduleState, *, who: str) -> bool:
        """Cancel or confirm; False when it is over, or its last run has begun."""
        statement = (
            sa.update(table)
            .where(table.c.id == schedule, table.c.state == "active", table.c.firing.is_(None))
            .values(state=state, ended_by=who, next_at=None)
        )
        return self._change(statement)

    def put_off(self, schedule: str, at: datetime) -> None:
        """Move the run to come (a way back counts from the moment when its release was live)."""
        text = text_of(at)
        self._change(
            sa.update(table)
            .where(table.c.id == schedule, table.c.state == "active", table.c.firing.is_(None))
            .values(next_at=text, at=text)
        )

    def begin(self, schedule: str, planned: datetime) -> bool:
        """Begin the run that is to come; False when it is cancelled, confirmed, over or moved. Twice is once."""
        text = text_of(planned)
        with self._database.write() as connection:
            row = connection.execute(
                sa.select(table.c.state, table.c.next_at, table.c.firing).where(table.c.id == schedule)
            ).first()
            if row is None:
                return False
            if row.firing == text:
                return True
            if row.state != "active" or row.firing is not None or row.next_at != text:
                return False
            connection.execute(sa.update(table).where(table.c.id == schedule).values(firing=text))
            return True

    def end_run(
        self,
        schedule: Schedule,
        planned: datetime,
        outcome: RunOutcome,
        *,
        next_at: datetime | None,
        key: str | None = None,
        why: str | None = None,
    ) -> None:
        """Keep what came of a run and which one is next; without one the schedule is done."""
        text = text_of(planned)
        changes: dict[str, Any] = {"firing": None, "next_at": text_of(next_at) if next_at else None}
        if next_at is None:
            changes["state"] = "done"
        with self._database.write() as connection:
            self._keep_run(connection, schedule.id, text, outcome, key=key, why=why)
            connection.execute(
                sa.update(table).where(table.c.id == schedule.id, table.c.state == "active").values(**changes)
            )

    def add_run(
        self, schedule: str, planned: datetime, outcome: RunOutcome, *, key: str | None = None, why: str | None = None
    ) -> None:
        """Keep a run that is not the one to come: of `run-now`, or one that was missed."""
        with self._database.write() as connection:
            self._keep_run(connection, schedule, text_of(planned), outcome, key=key, why=why)

    def runs(self, schedule: str, *, limit: int = 20) -> tuple[ScheduleRun, ...]:
        """What came of its runs, newest first."""
        query = sa.select(runs).where(runs.c.schedule == schedule).order_by(runs.c.planned.desc()).limit(limit)
        with self._database.read() as connection:
            return tuple(
                ScheduleRun(
                    schedule=row.schedule,
                    planned=row.planned,
                    fired=row.fired,
                    outcome=row.outcome,
                    key=row.key,
                    why=row.why,
                )
                for row in connection.execute(query)
            )

    @staticmethod
    def _keep_run(
        connection: sa.Connection, schedule: str, planned: str, outcome: str, *, key: str | None, why: str | None
    ) -> None:
        values = {"planned": planned, "fired": now(), "outcome": outcome, "key": key, "why": why}
        connection.execute(insert(runs).values(schedule=schedule, **values).on_conflict_do_nothing())

    def _change(self, statement: sa.Update) -> bool:
        with self._database.write() as connection:
            return bool(connection.execute(statement).rowcount)

    def _several(self, query: sa.Select[Any]) -> tuple[Schedule, ...]:
        with self._database.read() as connection:
            return tuple(_schedule(row) for row in connection.execute(query).mappings())


def _placed(query: sa.Select[Any], app: AppName | None, environment: EnvironmentName | None) -> sa.Select[Any]:
    if app is not None:
        query = query.where(table.c.app == str(app))
    return query.where(table.c.environment == str(environment)) if environment is not None else query


def _schedule(row: Any) -> Schedule:
    fields = dict(row)
    fields["app"] = AppName(row["app"])
    fields["environment"] = EnvironmentName(row["environment"])
    fields["release"] = ReleaseId(row["release"]) if row["release"] else None
    fields["rollout"] = RolloutId(row["rollout"]) if row["rollout"] else None
    return Schedule(**fields)
