"""Hosts: who is known, at which address, with which pinned key."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deployd.domain.host import Host
from deployd.domain.ids import HostName
from deployd.errors import NotFoundError
from deployd.store.moments import now
from deployd.store.tables import facts
from deployd.store.tables import hosts as table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from deployd.store.database import Database


_DRAINED = "drained:"  # the fact is named so, and then like the host


class Hosts:
    """Hosts by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, host: Host, *, who: str) -> None:
        """Keep a host, or change what is known of it."""
        fields = {
            "address": host.address,
            "port": host.port,
            "admin_user": host.admin_user,
            "identity": host.identity,
            "host_key": host.host_key,
        }
        statement = insert(table).values(name=str(host.name), added=now(), who=who, **fields)
        with self._database.write() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=[table.c.name], set_=fields))

    def all(self) -> tuple[Host, ...]:
        """All hosts, by name."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(table).order_by(table.c.name)).mappings().all()
        return tuple(_host(row) for row in rows)

    def get(self, name: HostName) -> Host:
        """One host; raises NotFoundError."""
        return self.some([name])[0]

    def some(self, names: Iterable[HostName]) -> tuple[Host, ...]:
        """Several hosts in the order asked for; raises NotFoundError with the nearest name for an unknown one."""
        known = {host.name: host for host in self.all()}
        found = []
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise NotFoundError(
                    f"there is no host {name}" + (f"; the nearest name is {near[0]}" if near else ""),
                    code="host-unknown",
                    host=name,
                    fix=f"add it: deployd host add {name} USER@ADDRESS (deployd host list shows those that are known)",
                )
            found.append(known[name])
        return tuple(found)

    def remove(self, name: HostName) -> None:
        """Forget a host; raises NotFoundError."""
        self.get(name)
        with self._database.write() as connection:
            connection.execute(sa.delete(table).where(table.c.name == str(name)))
        self.keep_drained(name, None)

    def drained(self) -> dict[str, str]:
        """The hosts that were drained as a whole from here, and by whom; hosts themselves know best."""
        query = sa.select(facts).where(facts.c.name.startswith(_DRAINED, autoescape=True))
        with self._database.read() as connection:
            return {row.name.removeprefix(_DRAINED): row.value for row in connection.execute(query)}

    def keep_drained(self, name: HostName, who: str | None) -> None:
        """Keep that somebody drained a host; None: that nobody did."""
        known = facts.c.name == f"{_DRAINED}{name}"
        with self._database.write() as connection:
            connection.execute(sa.delete(facts).where(known))
            if who is not None:
                connection.execute(sa.insert(facts).values(name=f"{_DRAINED}{name}", value=who))


def _host(row: Any) -> Host:
    return Host(
        name=HostName(row["name"]),
        address=row["address"],
        port=row["port"],
        admin_user=row["admin_user"],
        identity=row["identity"],
        host_key=row["host_key"],
    )
