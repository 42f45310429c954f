"""Registered apps: those that the daemon releases by itself, with the repository that each comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deployd.domain.daemon import RegisteredApp
from deployd.domain.ids import AppName
from deployd.errors import NotFoundError
from deployd.store.moments import now
from deployd.store.tables import apps as table

if TYPE_CHECKING:
    from deployd.store.database import Database


class Apps:
    """Apps by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, name: AppName, *, repository: str, subdir: str, who: str) -> RegisteredApp:
        """Register an app, or change where it comes from."""
        fields = {"repository": repository, "subdir": subdir, "who": who}
        statement = insert(table).values(name=str(name), created=now(), **fields)
        with self._database.write() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=[table.c.name], set_=fields))
        return self.get(name)

    def get(self, name: AppName) -> RegisteredApp:
        """One app; raises NotFoundError."""
        found = self.find(name)
        if found is None:
            raise NotFoundError(
                f"no app {name} is registered",
                code="app-unknown",
                fix=f"deployd app add {name} --repository URL, on the daemon's machine",
            )
        return found

    def find(self, name: AppName) -> RegisteredApp | None:
        """One app, or None."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(table).where(table.c.name == str(name))).first()
        return _app(row) if row is not None else None

    def all(self) -> tuple[RegisteredApp, ...]:
        """All apps, by name."""
        with self._database.read() as connection:
            return tuple(_app(row) for row in connection.execute(sa.select(table).order_by(table.c.name)))

    def remove(self, name: AppName) -> None:
        """Forget an app; its releases and what is live stay. Raises NotFoundError."""
        self.get(name)
        with self._database.write() as connection:
            connection.execute(sa.delete(table).where(table.c.name == str(name)))


def _app(row: Any) -> RegisteredApp:
    return RegisteredApp(
        name=AppName(row.name), repository=row.repository, subdir=row.subdir, created=row.created, who=row.who
    )
