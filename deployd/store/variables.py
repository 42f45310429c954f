"""Variables of environments and of releases, encrypted. A release's are frozen: a rollback brings them back."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deployd.domain.rollout import Variable
from deployd.domain.secret import Secret
from deployd.errors import NotFoundError
from deployd.store.moments import now
from deployd.store.tables import release_variables as frozen
from deployd.store.tables import variables as table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from deployd.domain.ids import AppName, EnvironmentName, ReleaseId
    from deployd.store.database import Database
    from deployd.store.keyring import Keyring


OWN = "DEPLOYD_ASSETS_"
"""What the names of variables begin with that deployd itself uses: neither builds nor servers get them."""


class Variables:
    """Variables by app and environment, and by release."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    def put(
        self,
        app: AppName,
        environment: EnvironmentName,
        key: str,
        value: Secret,
        *,
        build: bool,
        who: str,
        both: bool = False,
        managed: bool = False,
    ) -> None:
        """Keep a variable for servers, or for builds (`build`), or for `both`.

        Each change has its own version, which is sealed with the value.
        """
        with self._database.write() as connection:
            version = (
                connection.execute(sa.select(table.c.version).where(*_is(app, environment, key))).scalar() or 0
            ) + 1
            fields = {
                "build": build,
                "both": both,
                "managed": managed,
                "version": version,
                "key_id": self._keyring.key_id,
                "sealed": self._keyring.seal(value, belongs_to=_place(app, environment, key, version)),
                "updated": now(),
                "who": who,
            }
            statement = insert(table).values(app=str(app), environment=str(environment), key=key, **fields)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=[table.c.app, table.c.environment, table.c.key], set_=fields
                )
            )

    def remove(self, app: AppName, environment: EnvironmentName, key: str) -> None:
        """Remove a variable; raises NotFoundError."""
        with self._database.write() as connection:
            done = connection.execute(sa.delete(table).where(*_is(app, environment, key)))
        if not done.rowcount:
            raise NotFoundError(
                f"{app} {environment} has no variable {key}",
                code="variable-unknown",
                fix="deployd env list shows those there are",
            )

    def of(self, app: AppName, environment: EnvironmentName) -> tuple[Variable, ...]:
        """All variables by key, without values."""
        return tuple(
            Variable(key=row.key, build=row.build, both=row.both, updated=row.updated, who=row.who, managed=row.managed)
            for row in self._rows(app, environment)
        )

    def reveal(self, app: AppName, environment: EnvironmentName, *, build: bool | None = None) -> dict[str, Secret]:
        """Variables with values: all, or those of build time, or of run time; managed ones and `both` are in each.

        Those for deployd itself (`OWN`) are only among all.
        """
        return {
            row.key: self._keyring.open(
                row.sealed, belongs_to=_place(app, environment, row.key, row.version), key_id=row.key_id
            )
            for row in self._rows(app, environment)
            if build is None or ((row.managed or row.both or row.build is build) and not row.key.startswith(OWN))
        }

    def ensure_managed(self, app: AppName, environment: EnvironmentName, key: str, *, who: str) -> None:
        """Make a random key of 32 bytes (base64) the first time; from then on it stays."""
        if any(row.key == key for row in self._rows(app, environment)):
            return
        value = Secret(base64.b64encode(secrets.token_bytes(32)).decode())
        self.put(app, environment, key, value, build=False, who=who, managed=True)

    def freeze(
        self,
        release: ReleaseId,
        app: AppName,
        environment: EnvironmentName,
        *,
        also: Mapping[str, Secret] | None = None,
        managed: bool = True,
    ) -> tuple[str, ...]:
        """Keep the run-time variables of this moment for a release, and `also` those of deployd's own; returns keys.

        `managed` False leaves out those that deployd made itself. The second time keeps the first.
        """
        left_out = set() if managed else {row.key for row in self._rows(app, environment) if row.managed}
        values = {
            key: value for key, value in self.reveal(app, environment, build=False).items() if key not in left_out
        }
        values |= also or {}
        rows = [
            {
                "release": str(release),
                "key": key,
                "key_id": self._keyring.key_id,
                "sealed": self._keyring.seal(value, belongs_to=_frozen_place(release, key)),
            }
            for key, value in values.items()
        ]
        with self._database.write() as connection:
            if rows:
                connection.execute(insert(frozen).on_conflict_do_nothing(), rows)
        return tuple(sorted(values))

    def of_release(self, release: ReleaseId) -> dict[str, Secret]:
        """A release's frozen run-time variables."""
        query = sa.select(frozen).where(frozen.c.release == str(release)).order_by(frozen.c.key)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return {
            row.key: self._keyring.open(row.sealed, belongs_to=_frozen_place(release, row.key), key_id=row.key_id)
            for row in rows
        }

    def _rows(self, app: AppName, environment: EnvironmentName) -> list[Any]:
        query = (
            sa.select(table)
            .where(table.c.app == str(app), table.c.environment == str(environment))
            .order_by(table.c.key)
        )
        with self._database.read() as connection:
            return list(connection.execute(query).all())


def _is(app: AppName, environment: EnvironmentName, key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (table.c.app == str(app), table.c.environment == str(environment), table.c.key == key)


def _place(app: AppName, environment: EnvironmentName, key: str, version: int) -> str:
    return f"{app}|{environment}|{key}|{version}"


def _frozen_place(release: ReleaseId, key: str) -> str:
    return f"release|{release}|{key}"
