"""The audit log: who did what, when, from where. Rows are only ever added; the database refuses anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from deployd.domain.daemon import AuditEntry
from deployd.store.moments import now
from deployd.store.tables import audit as table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.store.database import Database


class Audit:
    """Entries, numbered in their order."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        *,
        who: str,
        origin: str,
        action: str,
        app: str | None = None,
        environment: str | None = None,
        subject: str | None = None,
        outcome: str = "done",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Add an entry; `details` is plain JSON without secrets."""
        with self._database.write() as connection:
            connection.execute(
                sa.insert(table).values(
                    time=now(),
                    who=who,
                    origin=origin,
                    action=action,
                    app=app,
                    environment=environment,
                    subject=subject,
                    outcome=outcome,
                    details=dict(details) if details is not None else None,
                )
            )

    def latest(self, *, app: str | None = None, limit: int = 50, before: int | None = None) -> tuple[AuditEntry, ...]:
        """Entries, newest first; `before` an id, for the page after."""
        query = sa.select(table).order_by(table.c.id.desc()).limit(limit)
        if app is not None:
            query = query.where(table.c.app == app)
        if before is not None:
            query = query.where(table.c.id < before)
        with self._database.read() as connection:
            return tuple(AuditEntry(**row) for row in connection.execute(query).mappings())
