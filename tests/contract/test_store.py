"""The store keeps what it is given, across processes, and gives no secret away."""

from __future__ import annotations

import sqlite3
import stat
import threading
from contextlib import closing

import pytest
import sqlalchemy as sa

from deployd.domain.artifact import Provenance
from deployd.domain.host import Host
from deployd.domain.ids import (
    AppName,
    ArtifactName,
    BuildId,
    EnvironmentName,
    HostName,
    ReleaseId,
    RolloutId,
    RuntimeName,
)
from deployd.domain.release import Mark, Release, ReleaseState
from deployd.domain.secret import Secret
from deployd.errors import DeploydError, NotFoundError
from deployd.paths import StatePaths
from deployd.store import Store, migrate, tables
from deployd.store.database import connect, revision
from deployd.store.events import StoredEvent
from deployd.store.moments import now

APP = AppName.parse("shop")
PRODUCTION = EnvironmentName.parse("production")
STAGING = EnvironmentName.parse("staging")


@pytest.fixture
def paths(tmp_path):
    return StatePaths(tmp_path / "state").make()


@pytest.fixture
def store(paths):
    made = Store(paths)
    yield made
    made.close()


def release_of(number: int, *, environment=PRODUCTION) -> Release:
    return Release(
        id=ReleaseId.parse(f"20261121-1015{number:02d}-3fa9c01-k2x7"),
        app=APP,
        environment=environment,
        artifact=ArtifactName.parse("a" + "0" * 32),
        build_id=BuildId.parse("b" + "1" * 20),
        runtime=RuntimeName.parse("node-22.22.3-linux-x64-glibc"),
        commit="3fa9c01" + "0" * 33,
        branch="main",
        subject="Add prices",
        dirty=False,
        who="ada",
        message=None,
        created=f"2026-11-21T10:15:{number:02d}.000Z",
        state=ReleaseState.NEW,
    )


def provenance_of(release: Release) -> Provenance:
    return Provenance(
        app=release.app,
        environment=release.environment,
        release=release.id,
        artifact=release.artifact,
        build_id=release.build_id,
        runtime=release.runtime,
        commit=release.commit,
        branch=release.branch,
        ref="main",
        dirty=False,
        subject=release.subject,
        author="Ada",
        who="ada",
        message=None,
        created=release.created,
        node="22.22.3",
        lockfile_sha256=None,
        framework="nextjs",
        deployd="0.1.0",
    )


def add_rollout(store: Store, *, environment=PRODUCTION) -> RolloutId:
    rollout = RolloutId.new()
    store.rollouts.add(
        rollout,
        kind="release",
        app=APP,
        environment=environment,
        state="waiting",
        who="ada",
        owner="1:2:boot",
        wish={"v": 1},
    )
    return rollout


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


def test_two_processes_make_the_file_at_once(paths):
    stores = [Store(paths) for _ in range(6)]
    failures: list[BaseException] = []

    def use(store: Store) -> None:
        try:
            store.hosts.all()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=use, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert failures == []


def test_writers_in_several_connections_wait_for_each_other(store, paths):
    rollout = add_rollout(store)
    others = [Store(paths) for _ in range(4)]

    def write(other: Store, base: int) -> None:
        for step in range(20):
            other.events.add(
                [StoredEvent(rollout=rollout, seq=base * 100 + step + 1, time=now(), event="warning", fields={})]
            )
            other.rollouts.ask_to_stop(rollout, who=f"w{base}")

    threads = [threading.Thread(target=write, args=(other, index)) for index, other in enumerate(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in others:
        other.close()
    assert len(store.events.of(rollout)) == 80


def test_hosts_come_back_as_they_were_and_unknown_ones_name_the_nearest(store):
    host = Host(name=HostName.parse("web1"), address="10.0.0.1", host_key="ssh-ed25519 AAAA", identity="/k")
    store.hosts.put(host, who="ada")
    store.hosts.put(host, who="ada")

    assert store.hosts.all() == (host,)
    with pytest.raises(NotFoundError, match="nearest name is web1"):
        store.hosts.get(HostName.parse("web11"))
    store.hosts.remove(host.name)
    assert store.hosts.all() == ()


def test_a_release_comes_back_with_mark_and_provenance(store):
    release = release_of(1)
    store.releases.add(release, provenance=provenance_of(release))
    store.releases.add(release, provenance=provenance_of(release))
    store.marks.set(release.id, Mark.BAD, who="ada")

    found = store.releases.get(release.id)
    assert (found.mark, found.commit, found.was_live) == (Mark.BAD, release.commit, False)
    assert store.releases.provenance(release.id) == provenance_of(release)
    assert store.releases.built(APP, PRODUCTION, release.build_id) == found
    assert store.releases.built(APP, STAGING, release.build_id) is None
    with pytest.raises(NotFoundError):
        store.releases.get(release_of(2).id)


def test_only_one_release_of_an_environment_is_live(store):
    first, second, elsewhere = release_of(1), release_of(2), release_of(3, environment=STAGING)
    for release in (first, second, elsewhere):
        store.releases.add(release, provenance=provenance_of(release))
        store.releases.set_state(release.id, ReleaseState.LIVE)

    states = [store.releases.get(release.id).state for release in (first, second, elsewhere)]
    assert states == [ReleaseState.RETIRED, ReleaseState.LIVE, ReleaseState.LIVE]
    assert [release.id for release in store.releases.of(APP, PRODUCTION)] == [second.id, first.id]
    assert store.releases.get(first.id).was_live


def test_rollouts_keep_the_order_in_which_they_were_asked_for(store):
    first, second, other = add_rollout(store), add_rollout(store), add_rollout(store, environment=STAGING)

    assert [record.id for record in store.rollouts.unfinished(APP, PRODUCTION)] == [first, second]
    assert [record.id for record in store.rollouts.after(first)] == [second]
    assert store.rollouts.latest(limit=1)[0].id == other
    store.rollouts.finish(first, state="failed", outcome="failed", result={"a": 1}, error={"code": "x"})
    assert [record.id for record in store.rollouts.unfinished()] == [second, other]
    assert store.rollouts.get(first).error == {"code": "x"}


def test_a_stop_request_is_seen_by_the_owner_and_refused_at_the_end(store, paths):
    rollout, successor = add_rollout(store), RolloutId.new()
    other = Store(paths)

    assert other.rollouts.ask_to_stop(rollout, who="bob", superseded_by=successor)
    asked = store.rollouts.stop_request(rollout)
    assert (asked.cancelled_by, asked.superseded_by) == ("bob", successor)
    store.rollouts.finish(rollout, state="superseded", outcome="superseded", result={}, error=None)
    assert not other.rollouts.ask_to_stop(rollout, who="bob")
    other.close()


def test_variables_are_encrypted_and_told_apart(store, paths):
    store.variables.put(APP, PRODUCTION, "DATABASE_URL", Secret("postgres://canary"), build=False, who="ada")
    store.variables.put(APP, PRODUCTION, "NEXT_PUBLIC_X", Secret("public"), build=True, who="ada")
    store.variables.ensure_managed(APP, PRODUCTION, "NEXT_SERVER_ACTIONS_ENCRYPTION_KEY", who="deployd")
    once = store.variables.reveal(APP, PRODUCTION)["NEXT_SERVER_ACTIONS_ENCRYPTION_KEY"]
    store.variables.ensure_managed(APP, PRODUCTION, "NEXT_SERVER_ACTIONS_ENCRYPTION_KEY", who="deployd")

    assert store.variables.reveal(APP, PRODUCTION)["NEXT_SERVER_ACTIONS_ENCRYPTION_KEY"] == once
    assert set(store.variables.reveal(APP, PRODUCTION, build=False)) == {
        "DATABASE_URL",
        "NEXT_SERVER_ACTIONS_ENCRYPTION_KEY",
    }
    assert set(store.variables.reveal(APP, PRODUCTION, build=True)) == {
        "NEXT_PUBLIC_X",
        "NEXT_SERVER_ACTIONS_ENCRYPTION_KEY",
    }
    store.close()
    assert all(b"canary" not in file.read_bytes() for file in paths.root.rglob("*") if file.is_file())
    assert stat.S_IMODE(paths.key.stat().st_mode) == 0o600


def test_a_variable_moved_to_another_row_does_not_open(store):
    """The place is authenticated: staging's database cannot be made production's by copying a row."""
    store.variables.put(APP, STAGING, "KEY", Secret("a"), build=False, who="ada")
    store.variables.put(APP, PRODUCTION, "KEY", Secret("b"), build=False, who="ada")
    with store.database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE variables SET sealed = (SELECT sealed FROM variables WHERE environment = 'staging')"
        )

    with pytest.raises(DeploydError) as caught:
        store.variables.reveal(APP, PRODUCTION)
    assert caught.value.code == "value-damaged"


def test_another_key_file_is_told_as_such(store, paths):
    store.variables.put(APP, PRODUCTION, "KEY", Secret("a"), build=False, who="ada")
    paths.key.write_text("ab" * 32)

    with pytest.raises(DeploydError) as caught:
        Store(paths).variables.reveal(APP, PRODUCTION)
    assert caught.value.code == "key-wrong"
    paths.key.chmod(0o644)
    with pytest.raises(DeploydError) as caught:
        Store(paths).variables.reveal(APP, PRODUCTION)
    assert caught.value.code == "key-open"


def test_a_releases_variables_are_those_of_its_moment(store):
    release = release_of(1)
    store.releases.add(release, provenance=provenance_of(release))
    store.variables.put(APP, PRODUCTION, "KEY", Secret("then"), build=False, who="ada")
    assert store.variables.freeze(release.id, APP, PRODUCTION) == ("KEY",)
    store.variables.put(APP, PRODUCTION, "KEY", Secret("now"), build=False, who="ada")
    store.variables.freeze(release.id, APP, PRODUCTION)

    assert store.variables.of_release(release.id) == {"KEY": Secret("then")}
    store.variables.remove(APP, PRODUCTION, "KEY")
    with pytest.raises(NotFoundError):
        store.variables.remove(APP, PRODUCTION, "KEY")


def test_a_rollbacks_pin_gives_way_to_a_persons(store):
    automatic = store.pins.put(APP, PRODUCTION, release=None, who="deployd", automatic=True)
    person = store.pins.put(APP, PRODUCTION, release=release_of(1).id, who="ada")
    again = store.pins.put(APP, PRODUCTION, release=None, who="deployd", automatic=True)

    assert (automatic.automatic, person.automatic, again) == (True, False, person)
    assert store.pins.remove(APP, PRODUCTION)
    assert not store.pins.remove(APP, PRODUCTION)


def test_becoming_live_is_told_once_for_each_rollout(store):
    rollout = add_rollout(store)
    for _ in range(2):
        store.live_log.add(APP, PRODUCTION, release=release_of(1).id, rollout=rollout)

    assert [release for release, _ in store.live_log.of(APP, PRODUCTION)] == [release_of(1).id]
