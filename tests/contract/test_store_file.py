"""The store's SQLite file: its mode, its schema, its migrations, and what is said of a wrong one."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing

import pytest
import sqlalchemy as sa

from deployd.errors import DatabaseError, DeploydError
from deployd.paths import StatePaths
from deployd.store import Store, migrate, reserve, tables
from deployd.store.database import connect, revision
from deployd.store.events import StoredEvent
from deployd.store.moments import now
from tests.contract.test_store import add_rollout


@pytest.fixture
def paths(tmp_path):
    return StatePaths(tmp_path / "state").make()


@pytest.fixture
def store(paths):
    made = Store(paths)
    yield made
    made.close()


def shape(file) -> dict[str, object]:
    """Tables, columns, indexes and foreign keys, without how they were written."""
    with closing(sqlite3.connect(file)) as connection:
        names = [
            row[0]
            for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table' ORDER BY name")
            if not row[0].startswith("sqlite_")
        ]
        return {
            name: (
                connection.execute(f"PRAGMA table_info({name})").fetchall(),
                sorted(
                    (
                        row[1] if not row[1].startswith("sqlite_autoindex") else "auto",
                        row[2],
                        tuple(connection.execute(f"PRAGMA index_info('{row[1]}')").fetchall()),
                    )
                    for row in connection.execute(f"PRAGMA index_list({name})")
                ),
                connection.execute(f"PRAGMA foreign_key_list({name})").fetchall(),
            )
            for name in names
        }


def test_migrations_and_a_fresh_database_have_one_schema(tmp_path, store):
    store.hosts.all()
    migrated = tmp_path / "migrated.sqlite"
    migrate.upgrade(migrated)

    assert shape(migrated) == shape(store.database.file)
    assert revision(migrated) == revision(store.database.file) == tables.REVISION


def test_the_file_is_for_its_owner_only_and_in_wal(store):
    store.hosts.all()

    assert stat.S_IMODE(store.database.file.stat().st_mode) == 0o600
    with closing(sqlite3.connect(store.database.file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_burst_of_writes_is_not_held_up_by_bringing_the_file_up_to_date(store):
    with store.database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE much (data BLOB)")
    before = store.database.file.stat().st_size
    for _ in range(10):
        with store.database.write() as connection:
            connection.exec_driver_sql("INSERT INTO much VALUES (zeroblob(800000))")
    assert store.database.file.stat().st_size == before
    assert store.database.file.with_name(f"{store.database.file.name}-wal").stat().st_size > 8_000_000


def test_what_is_only_told_is_not_brought_to_the_disk_by_itself(store):
    found = []
    for later in (False, True, False, True):
        with store.database.write(later=later) as connection:
            found.append(connection.exec_driver_sql("PRAGMA synchronous").scalar())
    assert found == [2, 1, 2, 1]  # FULL, NORMAL


def test_a_newer_schema_is_refused(store):
    store.hosts.all()
    store.close()
    with closing(sqlite3.connect(store.database.file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(DeploydError) as caught:
        store.hosts.all()
    assert caught.value.code == "store-newer"


def test_a_file_that_is_no_database_is_told(paths):
    paths.database.write_bytes(b"something else entirely" * 100)

    with pytest.raises(DeploydError) as caught:
        Store(paths).hosts.all()
    assert caught.value.code == "store-damaged"


def test_a_file_that_breaks_later_is_told_too(store):
    store.hosts.all()
    store.close()
    with store.database.file.open("r+b") as file:  # all but the first page, which says what the file is
        file.seek(4096)
        file.write(b"x" * (store.database.file.stat().st_size - 4096))

    for use in (store.hosts.all, lambda: store.pins.put("shop", "production", release=None, who="ada")):
        with pytest.raises(DatabaseError) as caught:
            use()
        assert caught.value.code == "store-damaged"
        assert str(store.database.file) in caught.value.what
        assert "SELECT" not in caught.value.what


def test_a_file_that_another_process_holds_is_told(store, monkeypatch):
    monkeypatch.setattr("deployd.store.database._BUSY_MS", 50)
    store.hosts.all()
    with closing(sqlite3.connect(store.database.file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        store.close()
        with pytest.raises(DatabaseError) as caught:
            store.pins.put("shop", "production", release=None, who="ada")
    assert caught.value.code == "store-locked"


def test_a_full_disk_is_told_as_such(store):
    store.hosts.all()

    @sa.event.listens_for(store.database.engine, "begin")
    def _no_page_more(connection):
        connection.exec_driver_sql("PRAGMA max_page_count=1")  # as few as there are: SQLite refuses as on a full disk

    with pytest.raises(DatabaseError) as caught:
        store.pins.put("shop", "production", release=None, who="ada" * 100_000)
    assert caught.value.code == "store-full"
    assert "is full" in caught.value.what


def test_a_disk_without_room_for_another_file_is_full_too(store, monkeypatch):
    """SQLite says "unable to open database file" and "disk I/O error" then."""
    store.hosts.all()
    store.close()
    with store.database.file.open("r+b") as file:
        file.truncate(100)
    full = os.statvfs_result((4096, 4096, 1000, 10, 0, 1000, 500, 500, 0, 255))
    monkeypatch.setattr("deployd.store.reserve.os.statvfs", lambda _: full)
    with pytest.raises(DatabaseError) as caught:
        store.hosts.all()
    assert caught.value.code == "store-full"


def test_a_rolled_back_write_leaves_nothing_not_even_a_table(store):
    """Pysqlite by itself commits DDL before the transaction ends."""

    def write():
        with store.database.write() as connection:
            connection.execute(sa.text("CREATE TABLE half (x)"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert "half" not in shape(store.database.file)


def test_migrating_keeps_the_child_rows(store):
    """A batch migration drops and remakes the parent table: with foreign keys on, the children would go with it."""
    rollout = add_rollout(store)
    store.events.add([StoredEvent(rollout=rollout, seq=1, time=now(), event="warning", fields={})])
    store.close()
    engine = connect(store.database.file, foreign_keys=False)
    with engine.connect().execution_options(deployd_writes=True) as connection, connection.begin():
        from alembic.migration import MigrationContext
        from alembic.operations import Operations

        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table("rollouts", recreate="always") as batch:
            batch.add_column(sa.Column("extra", sa.Text()))
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall() == []
    engine.dispose()

    assert len(store.events.of(rollout)) == 1


def test_a_full_disk_has_room_left_to_go_back(store, monkeypatch):
    """The reserve is there from the first use on, is given up for a write when nothing else is free, and made again."""
    store.hosts.all()
    kept = store.database.file.with_name(".reserve")
    assert kept.stat().st_size == reserve.SIZE
    free = {"bytes": 1 << 20}
    monkeypatch.setattr("deployd.store.reserve._free", lambda _: free["bytes"])

    store.pins.put("shop", "production", release=None, who="ada")
    assert kept.exists()
    free["bytes"] = 4096
    store.hosts.all()
    assert kept.exists()  # who only reads needs none
    store.pins.put("shop", "production", release=None, who="ada")
    assert not kept.exists()

    store.close()
    store.hosts.all()
    assert not kept.exists()
    store.close()
    free["bytes"] = 1 << 30
    store.hosts.all()
    assert kept.exists()
