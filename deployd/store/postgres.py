"""PostgreSQL: an address comes in, connections for reading and writing go out, as those of the SQLite file.

One writer at a time, as in SQLite, by an advisory lock of the transaction: what reads and then writes stays right, also
between daemons. A server that is away for moments (a restart) is waited for; whatever is wrong is told without the
password.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.dml import OnConflictDoNothing, OnConflictDoUpdate
from sqlalchemy.ext.compiler import compiles

from deployd.domain.database import told
from deployd.errors import ConfigError, DatabaseError
from deployd.store import tables
from deployd.store.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITERS = 0x6465706C6F7964  # "deployd": the advisory lock of whoever writes
_MAKING = WRITERS + 1  # of whoever makes or migrates the tables
AWAY = 30.0
"""How long a server that was there is waited for, in seconds."""
_PAUSE = 0.2
_SETTINGS = (
    "-c timezone=UTC -c lock_timeout=30000 -c idle_in_transaction_session_timeout=10000"
    # a machine that vanished: its session, and so its locks, end within 15 s
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2 -c tcp_user_timeout=15000"
)


@compiles(OnConflictDoUpdate, "postgresql")
def _update(clause: Any, compiler: Any, **options: Any) -> str:
    """What the nouns write with SQLite's words means the same here."""
    clause.constraint_target = None
    return str(compiler.visit_on_conflict_do_update(clause, **options))


@compiles(OnConflictDoNothing, "postgresql")
def _nothing(clause: Any, compiler: Any, **options: Any) -> str:
    clause.constraint_target = None
    return str(compiler.visit_on_conflict_do_nothing(clause, **options))


def parse(url: str) -> sa.URL:
    """The address of a PostgreSQL database; raises ConfigError. Its text is never told: it may hold a password."""
    try:
        found = sa.make_url(url)
    except sa.exc.ArgumentError:
        found = None
    if found is None or found.drivername not in {"postgresql", "postgres", "postgresql+psycopg"} or not found.database:
        raise ConfigError(
            f"database_url is no address of a PostgreSQL database: {told(url)}",
            code="database-url-invalid",
            fix="write postgresql://USER:PASSWORD@HOST:5432/DATABASE, or leave it out: SQLite in the state folder",
        )
    return found.set(drivername="postgresql+psycopg")


class Postgres(Database):
    """One database on a PostgreSQL server; its tables are made or migrated when it is first used."""

    shared = True

    def __init__(self, url: str) -> None:
        self.url = parse(url)
        self.told = told(url)
        self.address = self.url.render_as_string(hide_password=False)
        self._engine: sa.Engine | None = None
        self._lock = threading.Lock()
        self._writing = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection whose reads all see one moment."""
        with self._transaction(isolation="REPEATABLE READ") as connection:
            yield connection

    @contextmanager
    def write(self, *, later: bool = False) -> Iterator[sa.Connection]:
        """A connection that holds the write lock until its end; an exception undoes all of it.

        With `later` a power cut of the server may undo it too, for a moment.
        """
        with self._writing, self._transaction(writes=True) as connection:
            if later:
                connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")
            yield connection

    def dedicated(self) -> sa.Connection:
        """A connection of its own that commits each statement, for locks that last; raises DatabaseError."""
        self._open()
        engine = connect(self.url, pooled=False)
        try:
            return engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except sa.exc.OperationalError as error:
            raise explain(error, self.told) from None

    @contextmanager
    def _transaction(self, *, isolation: str | None = None, writes: bool = False) -> Iterator[sa.Connection]:
        connection, transaction = self._begin(isolation=isolation, writes=writes)
        try:
            yield connection
            transaction.commit()
        except sa.exc.OperationalError as error:
            raise explain(error, self.told) from error
        finally:
            if transaction.is_active:
                transaction.rollback()
            connection.close()

    def _begin(self, *, isolation: str | None, writes: bool) -> tuple[sa.Connection, sa.RootTransaction]:
        """Begin, once the server answers: nothing of the caller's has been done yet, so it may be tried again."""
        engine = self._open()
        deadline = time.monotonic() + AWAY
        while True:
            connection = None
            try:
                connection = engine.connect()
                if isolation:
                    connection = connection.execution_options(isolation_level=isolation)
                transaction = connection.begin()
                if writes:
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS})")
            except sa.exc.OperationalError as error:
                if connection is not None:
                    connection.invalidate()
                    connection.close()
                if not _is_away(error) or time.monotonic() > deadline:
                    raise explain(error, self.told) from None
                time.sleep(_PAUSE)
            else:
                return connection, transaction

    def _open(self) -> sa.Engine:
        with self._lock:
            if self._engine is None:
                engine = connect(self.url)
                try:
                    make_ready(engine, self.told)
                except BaseException as error:
                    engine.dispose()
                    if isinstance(error, sa.exc.DBAPIError):
                        raise explain(error, self.told) from None
                    raise
                self._engine = engine
            return self._engine


def connect(url: sa.URL, *, pooled: bool = True) -> sa.Engine:
    """An engine as deployd uses it."""
    return sa.create_engine(
        url,
        json_serializer=lambda value: json.dumps(value, separators=(",", ":")),
        hide_parameters=True,  # an error's text goes into logs
        execution_options={"preserve_rowcount": True},  # or an insert would not say that a row was there already
        connect_args={
            "connect_timeout": 5,
            "application_name": "deployd",
            "options": _SETTINGS,
            "keepalives_idle": 5,
            "keepalives_interval": 5,
            "keepalives_count": 2,
            "tcp_user_timeout": 15_000,
        },
        **({"pool_pre_ping": True, "max_overflow": 15} if pooled else {"poolclass": sa.NullPool}),
    )


def revision(connection: sa.Connection) -> str | None:
    """The schema's version as the database has it; None when deployd's tables are not there."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return found


def make_ready(engine: sa.Engine, name: str) -> None:
    """Make the tables, or bring them to the newest schema; of several daemons that start at once, one does it."""
    with engine.connect() as connection:
        if revision(connection) == tables.REVISION:
            return
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MAKING})")
        found = revision(connection)
        try:
            if found is None:
                _create(connection)
            elif found > tables.REVISION:
                raise DatabaseError(
                    f"{name} was written by a newer deployd (schema {found}; this one knows {tables.REVISION})",
                    code="store-newer",
                    fix="use the newer deployd on this machine too",
                )
            elif found < tables.REVISION:
                from deployd.store import migrate  # imports alembic, which takes a quarter of a second

                migrate.run(connection)
        except sa.exc.ProgrammingError as error:
            if _state(error) != "42501":  # no permission
                raise
            raise DatabaseError(
                f"{name} has {f'schema {found}' if found else 'no tables of deployd'}, and this user may not make them",
                code="store-not-migrated",
                fix="let the database's owner run any deployd command once, or GRANT CREATE ON SCHEMA public",
            ) from None


def _create(connection: sa.Connection) -> None:
    tables.metadata.create_all(connection)
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.execute(sa.text("INSERT INTO alembic_version VALUES (:found)"), {"found": tables.REVISION})


def explain(error: sa.exc.DBAPIError, name: str) -> DatabaseError:
    """What the server or the way to it said, as an error for people."""
    text, state = _text(error), _state(error) or ""
    if state == "55P03":
        return DatabaseError(
            f"another process holds {name} for too long",
            code="database-busy",
            fix="see which: SELECT pid, state, query FROM pg_stat_activity",
            retryable=True,
        )
    low = text.lower()
    if state.startswith("28") or "password" in low or "pg_hba" in low or ("role" in low and "exist" in low):
        return DatabaseError(
            f"{name} refuses deployd: {text}",
            code="database-refused",
            fix="correct user and password in database_url, or pg_hba.conf of the server",
        )
    if state == "3D000" or ("database" in low and "does not exist" in low):
        return DatabaseError(
            f"{name} does not exist", code="database-unknown", fix="make it: createdb --owner USER DATABASE"
        )
    if _is_away(error) or "resolve host" in low:
        return DatabaseError(
            f"{name} cannot be reached: {text}",
            code="database-unreachable",
            fix="see whether PostgreSQL runs there and the address in database_url is right",
            retryable=True,
        )
    return DatabaseError(f"{name} failed: {text}", code="database-failed", fix="see the log of the PostgreSQL server")


def _is_away(error: sa.exc.DBAPIError) -> bool:
    """No connection, a broken one, or a server that starts or stops; not one that refuses."""
    state, low = _state(error), _text(error).lower()
    if state:
        return state.startswith(("08", "57P")) or state == "53300"
    return not any(word in low for word in ("password", "pg_hba", "does not exist", "resolve host"))


def _state(error: sa.exc.DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _text(error: sa.exc.DBAPIError) -> str:
    """The first line of what it says; psycopg's texts hold no password."""
    lines = [line.strip() for line in str(error.orig).splitlines() if line.strip()]
    return lines[0].removeprefix("connection failed: ") if lines else type(error.orig).__name__
