"""What Alembic runs: the connection comes from `store/migrate.py`; the engine's own tables are not ours to see."""

from __future__ import annotations

from typing import Any

from alembic import context

from deployd.store import tables


def _is_ours(_object: Any, name: str | None, kind: str, _reflected: Any, _compare: Any) -> bool:
    return kind != "table" or name in tables.metadata.tables


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    include_object=_is_ours,
    render_as_batch=True,
    transactional_ddl=False,  # one transaction around all of them is the caller's
)
context.run_migrations()
