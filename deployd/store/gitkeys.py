"""Public keys that may push over SSH, and to which apps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from deployd.domain.ids import AppName
from deployd.errors import NotFoundError, UsageError
from deployd.store.moments import now
from deployd.store.tables import git_keys as table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class GitKey:
    """One key: `line` is type and base64 as in a `.pub` file; `apps` empty means every app."""

    name: str
    fingerprint: str
    line: str
    apps: tuple[AppName, ...]
    created: str
    who: str

    def to_json(self) -> dict[str, Any]:
        """As in `key list --json`."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "apps": list(self.apps),
            "created": self.created,
            "who": self.who,
        }

    def may(self, app: str) -> bool:
        """Whether it may push to the app."""
        return not self.apps or app in self.apps


class GitKeys:
    """Keys by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, *, name: str, fingerprint: str, line: str, apps: Sequence[AppName], who: str) -> GitKey:
        """Keep a key; raises UsageError when the name or the key is there already."""
        try:
            with self._database.write() as connection:
                connection.execute(
                    sa.insert(table).values(
                        name=name,
                        fingerprint=fingerprint,
                        line=line,
                        apps=[str(app) for app in apps],
                        created=now(),
                        who=who,
                    )
                )
        except sa.exc.IntegrityError as error:
            raise UsageError(
                f"a key of that name is there already, or this key under another name ({fingerprint})",
                code="key-known",
                fix="see `deployd key list`; `deployd key remove NAME` first",
            ) from error
        return self.get(name)

    def get(self, name: str) -> GitKey:
        """One key; raises NotFoundError."""
        found = next((one for one in self.all() if one.name == name), None)
        if found is None:
            raise NotFoundError(f"there is no key {name!r}", code="key-unknown", fix="see `deployd key list`")
        return found

    def all(self) -> tuple[GitKey, ...]:
        """All keys, by name."""
        with self._database.read() as connection:
            return tuple(
                GitKey(
                    name=row.name,
                    fingerprint=row.fingerprint,
                    line=row.line,
                    apps=tuple(AppName(app) for app in row.apps),
                    created=row.created,
                    who=row.who,
                )
                for row in connection.execute(sa.select(table).order_by(table.c.name))
            )

    def remove(self, name: str) -> None:
        """Forget a key; raises NotFoundError."""
        self.get(name)
        with self._database.write() as connection:
            connection.execute(sa.delete(table).where(table.c.name == name))
