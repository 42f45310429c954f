"""Marks: a release that a person or a rollback called good or bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.dialects.sqlite import insert

from deployd.store.moments import now
from deployd.store.tables import marks as table

if TYPE_CHECKING:
    from deployd.domain.ids import ReleaseId
    from deployd.domain.release import Mark
    from deployd.store.database import Database


class Marks:
    """Marks by release; `Releases` reads them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, release: ReleaseId, mark: Mark, *, who: str) -> None:
        """Mark a release that the store knows; a newer mark takes the older one's place."""
        fields = {"mark": str(mark), "who": who, "at": now()}
        statement = insert(table).values(release=str(release), **fields)
        with self._database.write() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=[table.c.release], set_=fields))
