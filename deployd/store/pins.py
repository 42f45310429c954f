"""Pins: environments that take no automatic release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deployd.domain.ids import ReleaseId
from deployd.domain.rollout import Pin
from deployd.store.moments import now
from deployd.store.tables import pins as table

if TYPE_CHECKING:
    from deployd.domain.ids import AppName, EnvironmentName
    from deployd.store.database import Database


class Pins:
    """Pins by app and environment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        release: ReleaseId | None,
        who: str,
        automatic: bool = False,
    ) -> Pin:
        """Pin; what a person pinned is not turned into an automatic pin."""
        fields = {
            "release": str(release) if release is not None else None,
            "automatic": automatic,
            "who": who,
            "at": now(),
        }
        statement = insert(table).values(app=str(app), environment=str(environment), **fields)
        update = statement.on_conflict_do_update(
            index_elements=[table.c.app, table.c.environment],
            set_=fields,
            where=table.c.automatic.is_(True) if automatic else None,
        )
        with self._database.write() as connection:
            connection.execute(update)
        found = self.get(app, environment)
        return found or Pin(release=release, automatic=automatic, who=who, at=str(fields["at"]))

    def get(self, app: AppName, environment: EnvironmentName) -> Pin | None:
        """The pin, or None."""
        query = sa.select(table).where(table.c.app == str(app), table.c.environment == str(environment))
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return Pin(
            release=ReleaseId(row.release) if row.release else None, automatic=row.automatic, who=row.who, at=row.at
        )

    def remove(self, app: AppName, environment: EnvironmentName) -> bool:
        """Remove a pin; False when there was none."""
        statement = sa.delete(table).where(table.c.app == str(app), table.c.environment == str(environment))
        with self._database.write() as connection:
            return bool(connection.execute(statement).rowcount)
