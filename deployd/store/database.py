"""The SQLite file: a path comes in, connections for reading and writing go out.

Several processes may use it at once (a second terminal cancels what the first one runs): WAL, a busy time-out, and
BEGIN IMMEDIATE for whoever writes, so that two read-then-write transactions cannot deadlock.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from deployd.errors import DatabaseError, DeploydError
from deployd.store import reserve, tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BUSY_MS = 30_000
_CHECKPOINT_PAGES = 8000  # 32 MB: in a burst nobody waits for the file to be brought up to its log (SQLite's own: 1000)


class Database:
    """One database file; made or migrated when it is first used."""

    shared = False
    """Whether processes of several machines use it: then locks and signs of life are in it too."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.told = f"SQLite, {file}"
        self.address = f"sqlite:///{file}"
        self._engine: sa.Engine | None = None
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # threads of one process wait here, not in SQLite's busy loop

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection whose reads all see one moment."""
        with self._told(), self._open().connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, *, later: bool = False) -> Iterator[sa.Connection]:
        """A connection that holds the write lock until its end; an exception undoes all of it.

        With `later` a power cut may undo it too, until the next write without: for what is only told, and told often.
        """
        engine = self._open()
        reserve.give_up(self.file)
        with (
            self._told(),
            self._writing,
            engine.connect().execution_options(deployd_writes=True, deployd_later=later) as connection,
            connection.begin(),
        ):
            yield connection

    @property
    def engine(self) -> sa.Engine:
        """For a library that keeps a table of its own in the file (the clock's timer)."""
        return self._open()

    def dedicated(self) -> sa.Connection:
        """A connection of its own, for locks that last: only a database that is shared has such."""
        raise NotImplementedError

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            if self._engine:
                self._engine.dispose()
            self._engine = None

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the file itself, as people are told; those of a statement stay what they are."""
        try:
            yield
        except sa.exc.DatabaseError as error:
            if type(error) not in {sa.exc.DatabaseError, sa.exc.OperationalError}:
                raise
            raise _explained(self.file, error.orig or error) from error

    def _open(self) -> sa.Engine:
        with self._lock:
            if self._engine is None:
                _make_ready(self.file)
                reserve.keep(self.file)
                self._engine = connect(self.file)
            return self._engine


def connect(file: Path, *, foreign_keys: bool = True) -> sa.Engine:
    """An engine on `file` as deployd uses it; migrations turn foreign keys off (dropping a table cascades)."""
    engine = sa.create_engine(
        sa.URL.create("sqlite+pysqlite", database=str(file)),
        json_serializer=lambda value: json.dumps(value, separators=(",", ":")),
        hide_parameters=True,  # an error's text goes into logs
    )

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # or pysqlite begins transactions by itself, and not before DDL
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        writes = options.get("deployd_writes")
        if writes:  # with NORMAL a commit is not brought to the disk; the next one with FULL brings both
            connection.exec_driver_sql(f"PRAGMA synchronous={'NORMAL' if options.get('deployd_later') else 'FULL'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def revision(file: Path) -> str | None:
    """The schema's version as the file has it; None when deployd's tables are not there."""
    with closing(sqlite3.connect(file, timeout=_BUSY_MS / 1000)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
    return row[0] if row else None


def _make_ready(file: Path) -> None:
    os.umask(0o077)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        found = revision(file)
        if found is None:
            _create(file)
        elif found != tables.REVISION:
            _migrate(file, found)
    except sqlite3.DatabaseError as error:
        raise _explained(file, error) from error


def _explained(file: Path, error: BaseException) -> DatabaseError:
    if "locked" in str(error):
        return DatabaseError(
            f"another process has held {file} for {_BUSY_MS // 1000} s",
            code="store-locked",
            fix=f"see which one (`fuser {file}`), and run the command again",
        )
    if "disk is full" in str(error) or reserve.is_full(file):
        return DatabaseError(
            f"the disk with {file} is full, so nothing could be kept",
            code="store-full",
            fix="make room there (`df -h`, `df -i`; `deployd cache clear`), then run the command again",
        )
    return DatabaseError(
        f"{file} cannot be used: {error}",
        code="store-damaged",
        fix="see whether the file belongs to another user; else put a backup in its place",
    )


def _create(file: Path) -> None:
    with closing(sqlite3.connect(file, timeout=_BUSY_MS / 1000)) as plain:
        plain.execute("PRAGMA journal_mode=WAL")  # stays in the file; the engine's library does not set it
    engine = connect(file)
    try:
        with engine.connect().execution_options(deployd_writes=True) as connection, connection.begin():
            if sa.inspect(connection).has_table("alembic_version"):
                return  # another process was faster
            tables.metadata.create_all(connection)
            connection.exec_driver_sql(
                "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
                "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
            )
            connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (tables.REVISION,))
    finally:
        engine.dispose()


def _migrate(file: Path, found: str) -> None:
    from deployd.store import migrate  # imports alembic, which takes a quarter of a second

    if found > tables.REVISION:
        raise DeploydError(
            f"{file} was written by a newer deployd (schema {found}; this one knows {tables.REVISION})",
            code="store-newer",
            fix="use the newer deployd, or put back the backup that lies beside the file",
        )
    backup(file, file.with_name(f"{file.name}.{found}.backup"))
    migrate.upgrade(file)


def backup(file: Path, to: Path) -> None:
    """A whole copy of a live database (copying the file itself would lose what is only in the WAL)."""
    aside = to.with_name(to.name + ".part")
    aside.unlink(missing_ok=True)
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(aside)) as target:
        source.backup(target)
    shutil.move(aside, to)
