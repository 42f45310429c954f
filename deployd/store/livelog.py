"""The live log: which release became live when, for each app and environment, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deployd.domain.ids import AppName, EnvironmentName, ReleaseId
from deployd.store.moments import now
from deployd.store.tables import live_log as table

if TYPE_CHECKING:
    from deployd.domain.ids import RolloutId
    from deployd.store.database import Database


class LiveLog:
    """What was live, oldest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        release: ReleaseId,
        rollout: RolloutId,
        at: str | None = None,
    ) -> None:
        """A rollout made `release` live (now, or `at`); telling it twice is once."""
        statement = insert(table).on_conflict_do_nothing()
        with self._database.write() as connection:
            connection.execute(
                statement.values(
                    app=str(app),
                    environment=str(environment),
                    release=str(release),
                    rollout=str(rollout),
                    at=at or now(),
                )
            )

    def places(self) -> tuple[tuple[AppName, EnvironmentName], ...]:
        """Where something was live."""
        query = sa.select(table.c.app, table.c.environment).distinct().order_by(table.c.app, table.c.environment)
        with self._database.read() as connection:
            return tuple((AppName(one.app), EnvironmentName(one.environment)) for one in connection.execute(query))

    def of(self, app: AppName, environment: EnvironmentName) -> tuple[tuple[ReleaseId, str], ...]:
        """Each release that became live with its time, oldest first."""
        query = (
            sa.select(table.c.release, table.c.at)
            .where(table.c.app == str(app), table.c.environment == str(environment))
            .order_by(table.c.id)
        )
        with self._database.read() as connection:
            return tuple((ReleaseId(row.release), row.at) for row in connection.execute(query))
