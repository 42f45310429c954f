"""Brings a database to the newest schema by Alembic. Imported only when a database is behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config

from deployd.errors import DeploydError
from deployd.store.database import connect

if TYPE_CHECKING:
    import sqlalchemy as sa

_FOLDER = Path(__file__).parent / "migrations"


def upgrade(file: Path, *, to: str = "head") -> None:
    """Run the migrations that the SQLite `file` lacks, all in one transaction, and check its foreign keys then."""
    engine = connect(file, foreign_keys=False)  # ON, a batch migration's drop table would delete the child rows
    try:
        with engine.connect().execution_options(deployd_writes=True) as connection, connection.begin():
            run(connection, to=to)
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise DeploydError(
                    f"the migration of {file} would leave {len(broken)} rows without their parents",
                    code="store-migration",
                    fix="nothing was changed: keep the older deployd, and report this",
                )
    finally:
        engine.dispose()


def run(connection: sa.Connection, *, to: str = "head") -> None:
    """Run the migrations that a database lacks, in the caller's transaction."""
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
