"""Secrets of deployd's own dealings (webhooks, forges, notifications), encrypted. `app` "" is every app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deployd.store.moments import now
from deployd.store.tables import secrets as table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.domain.secret import Secret
    from deployd.store.database import Database
    from deployd.store.keyring import Keyring

SecretKind = Literal["hook", "forge", "notify", "certificate", "acme"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSecret:
    """A secret without its value. `extra` is what goes with it: plain JSON, no secret."""

    kind: SecretKind
    app: str
    name: str
    extra: Mapping[str, Any]
    updated: str
    who: str

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        return {"app": self.app or None, "name": self.name, **self.extra, "updated": self.updated, "who": self.who}


class Secrets:
    """Secrets by kind, app and name."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self.changes = 0
        """How often this process has changed any: what was read before the last time may be stale."""

    def put(
        self,
        kind: SecretKind,
        *,
        app: str,
        name: str,
        value: Secret,
        who: str,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep a secret; one of the same name is replaced."""
        fields = {
            "extra": dict(extra or {}),
            "key_id": self._keyring.key_id,
            "sealed": self._keyring.seal(value, belongs_to=_place(kind, app, name)),
            "updated": now(),
            "who": who,
        }
        statement = insert(table).values(kind=kind, app=app, name=name, **fields)
        with self._database.write() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=[table.c.kind, table.c.app, table.c.name], set_=fields)
            )
        self.changes += 1

    def reveal(self, kind: SecretKind, *, app: str, name: str) -> Secret | None:
        """The value, or None."""
        query = sa.select(table.c.sealed, table.c.key_id).where(*_is(kind, app, name))
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return self._keyring.open(row.sealed, belongs_to=_place(kind, app, name), key_id=row.key_id)

    def find(self, kind: SecretKind, *, app: str, name: str) -> KeptSecret | None:
        """What is kept with it, or None."""
        return next((one for one in self.all(kind) if (one.app, one.name) == (app, name)), None)

    def all(self, kind: SecretKind) -> tuple[KeptSecret, ...]:
        """All of a kind, by app and name, without values."""
        query = sa.select(table).where(table.c.kind == kind).order_by(table.c.app, table.c.name)
        with self._database.read() as connection:
            return tuple(
                KeptSecret(kind=row.kind, app=row.app, name=row.name, extra=row.extra, updated=row.updated, who=row.who)
                for row in connection.execute(query)
            )

    def remove(self, kind: SecretKind, *, app: str, name: str) -> bool:
        """Forget it; False when it was not there."""
        with self._database.write() as connection:
            found = bool(connection.execute(sa.delete(table).where(*_is(kind, app, name))).rowcount)
        self.changes += 1
        return found


def _is(kind: SecretKind, app: str, name: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (table.c.kind == kind, table.c.app == app, table.c.name == name)


def _place(kind: SecretKind, app: str, name: str) -> str:
    return f"secret|{kind}|{app}|{name}"
