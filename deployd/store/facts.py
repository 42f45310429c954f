"""Facts about the database itself: which key seals what it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deployd.store.tables import facts as table
from deployd.store.tables import metadata

if TYPE_CHECKING:
    from deployd.store.database import Database

_KEY = "key"


class Facts:
    """Facts by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def key_id(self) -> str | None:
        """The id of the key that seals secrets here; None before the first one is sealed."""
        with self._database.read() as connection:
            found: str | None = connection.execute(sa.select(table.c.value).where(table.c.name == _KEY)).scalar()
        return found

    def sealed_with(self) -> str | None:
        """The id of the key of a secret that is kept here; None when there is none yet."""
        sealing = [one for one in metadata.sorted_tables if "key_id" in one.c]
        with self._database.read() as connection:
            for one in sealing:
                found: str | None = connection.execute(sa.select(one.c.key_id).limit(1)).scalar()
                if found:
                    return found
        return None

    def keep_key_id(self, key_id: str) -> str:
        """Keep it, if none is kept; returns the one that is.

        Beside the write lock: who seals a value may hold that already, and one statement needs none.
        """
        with self._database.engine.begin() as connection:
            connection.execute(insert(table).values(name=_KEY, value=key_id).on_conflict_do_nothing())
        return self.key_id() or key_id
