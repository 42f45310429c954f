"""This process among the others on one PostgreSQL database: its sign of life goes in, who lives and who holds what out.

A row is kept fresh while this process lives: after `LEASE` seconds without it, others take its rollouts over. Locks are
advisory locks of one session, so they end with the process at once; who is dead by its row and holds one all the same
(it was stopped, or its machine hangs) loses the session. A session that breaks is made again, with its locks.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from deployd import logs
from deployd.errors import DatabaseError
from deployd.store.moments import now
from deployd.store.postgres import explain
from deployd.store.tables import holders, owners

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.paths import StatePaths
    from deployd.store.database import Database

LEASE = 15.0
"""Seconds after its last sign of life from which on a process counts as dead."""
_BEATS = 5  # signs of life in a lease
_FORGET_AFTER = 7 * 86_400  # seconds: what `owners` still says of those that are gone
_CLOCK = "extract(epoch from clock_timestamp())"


class Presence:
    """Threads may share it. Nothing is begun before a name or a lock is asked for."""

    def __init__(self, database: Database, paths: StatePaths, *, command: str = "deployd") -> None:
        self._database = database
        self._paths = paths
        self._command = command
        self._mutex = threading.RLock()
        self._connection: sa.Connection | None = None
        self._name: str | None = None
        self._held: dict[str, Mapping[str, Any]] = {}
        self._lost: set[str] = set()
        self._alone = False
        self._ended = threading.Event()
        self._log = logs.logger("presence")

    # this process

    def own_name(self) -> str:
        """This process's name; from now on it shows that it lives."""
        with self._mutex:
            if self._name is None:
                name = f"{os.getpid()}:{socket.gethostname()}:{secrets.token_hex(6)}"
                self._name = name
                try:
                    self._session()
                except DatabaseError:
                    self._name = None
                    raise
                threading.Thread(target=self._beat, args=(name,), daemon=True, name="presence").start()
            return self._name

    def succeed(self) -> None:
        """This process holds its state folder's own lock: those that worked in it before are gone, and count so."""
        own = self.own_name()
        with self._mutex:
            if self._alone:
                return
            others = sa.and_(owners.c.folder == self.folder(), owners.c.name != own)
            try:
                self._session().execute(sa.delete(owners).where(others))
            except sa.exc.DBAPIError as error:
                self._drop()
                raise explain(error, self._database.told) from error
            self._alone = True

    def folder(self) -> str:
        """The state folder's own name: what was checked out and built in it is found there again."""
        file = self._paths.root / "id"
        with suppress(FileExistsError):
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(descriptor, secrets.token_hex(8).encode())
            os.close(descriptor)
        return file.read_text().strip()

    def close(self) -> None:
        """End in order: others need not wait for the lease to run out."""
        self._ended.set()
        with self._mutex:
            if self._connection is None:
                return
            with suppress(sa.exc.DBAPIError, DatabaseError):
                self._connection.execute(sa.select(sa.func.pg_advisory_unlock_all()))
                self._connection.execute(sa.delete(owners).where(owners.c.name == self._name))
            self._drop()
            self._held.clear()

    # the others

    def alive(self, owner: str | None) -> bool:
        """Whether the process of that name lives, as far as the database knows."""
        if owner is None:
            return False
        query = sa.select(owners.c.until > sa.literal_column(_CLOCK)).where(owners.c.name == owner)
        with self._database.read() as connection:
            return bool(connection.execute(query).scalar())

    def folder_of(self, owner: str | None) -> str | None:
        """The state folder that a process worked in; None when nothing is known of it."""
        with self._database.read() as connection:
            found: str | None = connection.execute(sa.select(owners.c.folder).where(owners.c.name == owner)).scalar()
        return found

    def living(self) -> tuple[dict[str, Any], ...]:
        """Every process that lives: name, machine, command, since."""
        columns = (owners.c.name, owners.c.machine, owners.c.command, owners.c.since)
        query = sa.select(*columns).where(owners.c.until > sa.literal_column(_CLOCK)).order_by(owners.c.since)
        with self._database.read() as connection:
            return tuple(dict(row) for row in connection.execute(query).mappings())

    # locks

    def take(self, lock: str, held: Mapping[str, Any]) -> bool:
        """Take a lock; False when another process, or another thread of this one, has it."""
        owner = self.own_name()
        with self._mutex:
            if lock in self._held:
                return False
            row = {**held, "owner": owner, "machine": socket.gethostname()}
            try:
                taken = self._try(lock) or (self._break(lock) and self._try(lock))
                if taken:
                    self._held[lock] = row
                    self._tell(lock, row)
            except sa.exc.DBAPIError as error:
                self._held.pop(lock, None)
                self._drop()
                raise explain(error, self._database.told) from error
            return taken

    def holds(self, lock: str) -> bool:
        """Whether this process has it, and did not lose it with a broken session."""
        with self._mutex:
            return lock in self._held and lock not in self._lost and self._connection is not None

    def holder(self, lock: str) -> dict[str, Any]:
        """What the last one who took it said of itself."""
        with self._database.read() as connection:
            found = connection.execute(sa.select(holders.c.held).where(holders.c.lock == lock)).scalar()
        return dict(found or {})

    def free(self, lock: str) -> None:
        """Let go; safe to repeat."""
        with self._mutex:
            if self._held.pop(lock, None) is None:
                return
            lost = lock in self._lost
            self._lost.discard(lock)
            if self._connection is None or lost:
                return
            try:
                self._connection.execute(sa.select(sa.func.pg_advisory_unlock(_key(lock))))
            except sa.exc.DBAPIError:
                self._drop()  # with the session the lock is free too

    # the session

    def _session(self) -> sa.Connection:
        """The session, made again with its locks if it broke."""
        if self._connection is None:
            if self._ended.is_set():
                raise DatabaseError("this process is about to end", code="database-failed", fix="try again")
            self._connection = self._database.dedicated()
            try:
                self._sign()
                for lock, row in self._held.items():
                    if self._try(lock):
                        self._tell(lock, row)
                    else:
                        self._lost.add(lock)
                        self._log.warning("lock_lost", lock=lock, why="taken while the database was away")
            except sa.exc.DBAPIError as error:
                self._drop()
                raise explain(error, self._database.told) from error
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sa.exc.DBAPIError):
                connection.invalidate()
            connection.close()

    def _beat(self, name: str) -> None:
        while not self._ended.wait(LEASE / _BEATS if self._connection is not None else 0.5):
            with self._mutex:
                if self._ended.is_set():
                    return
                try:
                    if self._connection is None:
                        self._session()
                    else:
                        self._sign()
                except sa.exc.DBAPIError as error:
                    self._log.warning("sign_of_life_failed", process=name, why=str(error.orig).splitlines()[0])
                    self._drop()
                except DatabaseError as error:
                    self._log.warning("sign_of_life_failed", process=name, why=error.what)

    def _sign(self) -> None:
        session = self._connected()
        until: sa.ColumnElement[float] = sa.literal_column(f"{_CLOCK} + {LEASE:g}")
        done = session.execute(sa.update(owners).where(owners.c.name == self._name).values(until=until))
        if not done.rowcount:
            session.execute(
                sa.insert(owners).values(
                    name=self._name,
                    machine=socket.gethostname(),
                    folder=self.folder(),
                    command=self._command,
                    since=now(),
                    until=until,
                )
            )
            session.execute(sa.delete(owners).where(owners.c.until < sa.literal_column(f"{_CLOCK} - {_FORGET_AFTER}")))

    def _try(self, lock: str) -> bool:
        return bool(self._session().execute(sa.select(sa.func.pg_try_advisory_lock(_key(lock)))).scalar())

    def _break(self, lock: str) -> bool:
        """End the session of whoever holds it and is dead by its row; returns whether that was so."""
        holder = self.holder(lock)
        if not holder or self.alive(holder.get("owner")):
            return False
        self._log.warning("lock_broken", lock=lock, holder=holder.get("owner"))
        high, low = divmod(_key(lock) % 2**64, 2**32)
        self._connected().execute(
            sa.text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
                "AND classid = :high AND objid = :low AND objsubid = 1 AND pid <> pg_backend_pid()"
            ),
            {"high": high, "low": low},
        )
        return True

    def _tell(self, lock: str, row: Mapping[str, Any]) -> None:
        changed = self._connected().execute(sa.update(holders).where(holders.c.lock == lock).values(held=dict(row)))
        if not changed.rowcount:
            self._connected().execute(sa.insert(holders).values(lock=lock, held=dict(row)))

    def _connected(self) -> sa.Connection:
        if self._connection is None:
            raise DatabaseError("the session to the database broke", code="database-failed", fix="try again")
        return self._connection


def _key(lock: str) -> int:
    return int.from_bytes(hashlib.sha256(f"deployd {lock}".encode()).digest()[:8], "big", signed=True)
