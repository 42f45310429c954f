"""Freezes: times in which an environment takes no automatic release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from deployd.domain.ids import AppName, EnvironmentName
from deployd.domain.schedule import Freeze
from deployd.store.moments import now
from deployd.store.tables import freezes as table

if TYPE_CHECKING:
    from deployd.store.database import Database


class Freezes:
    """Freezes by app and environment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, freeze: Freeze) -> None:
        """Keep a freeze."""
        fields = {name: getattr(freeze, name) for name in Freeze.__slots__}
        fields |= {"app": str(freeze.app), "environment": str(freeze.environment)}
        with self._database.write() as connection:
            connection.execute(sa.insert(table).values(**fields))

    def active(self, app: AppName | None = None, environment: EnvironmentName | None = None) -> tuple[Freeze, ...]:
        """Those in force now, the one that lasts longest first."""
        query = _placed(app, environment).where(table.c.ended.is_(None), table.c.until > now())
        return self._several(query.order_by(table.c.until.desc()))

    def latest(
        self, app: AppName | None = None, environment: EnvironmentName | None = None, *, limit: int = 50
    ) -> tuple[Freeze, ...]:
        """All of them, newest first."""
        return self._several(_placed(app, environment).order_by(table.c.created.desc()).limit(limit))

    def end(self, app: AppName, environment: EnvironmentName, *, who: str) -> int:
        """End those in force; returns how many."""
        statement = sa.update(table).where(
            table.c.app == str(app),
            table.c.environment == str(environment),
            table.c.ended.is_(None),
            table.c.until > now(),
        )
        with self._database.write() as connection:
            return connection.execute(statement.values(ended=now(), ended_by=who)).rowcount

    def _several(self, query: sa.Select[Any]) -> tuple[Freeze, ...]:
        with self._database.read() as connection:
            return tuple(
                Freeze(**{**row, "app": AppName(row["app"]), "environment": EnvironmentName(row["environment"])})
                for row in connection.execute(query).mappings()
            )


def _placed(app: AppName | None, environment: EnvironmentName | None) -> sa.Select[Any]:
    query = sa.select(table)
    if app is not None:
        query = query.where(table.c.app == str(app))
    return query.where(table.c.environment == str(environment)) if environment is not None else query
