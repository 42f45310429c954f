"""PostgreSQL itself: its schema, what is said when it is away or refuses, locks and signs of life between processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from deployd.domain.database import told
from deployd.domain.ids import AppName, EnvironmentName
from deployd.domain.secret import Secret
from deployd.errors import ConfigError, DatabaseError, DeploydError
from deployd.paths import StatePaths
from deployd.rollouts import locks
from deployd.store import Store, migrate, presence, tables
from deployd.store.copying import copy
from deployd.store.postgres import Postgres, connect, parse, revision
from tests.contract.test_store import add_rollout, ask_of, provenance_of, release_of

APP, PRODUCTION = AppName.parse("shop"), EnvironmentName.parse("production")


@pytest.fixture
def url(postgres):
    return postgres.database()


@pytest.fixture
def store_of(tmp_path, url, monkeypatch):
    """Makes the store of a machine: a state folder of its own, the same database."""
    monkeypatch.setattr(presence, "LEASE", 2.0)
    made: list[Store] = []

    def make(machine: str) -> Store:
        made.append(Store(StatePaths(tmp_path / machine).make(), url))
        return made[-1]

    yield make
    for store in made:
        store.close()


def shape(url: str) -> dict[str, object]:
    """Tables, columns, keys and indexes."""
    engine = connect(parse(url))
    found = sa.inspect(engine)
    described = {
        name: (
            [(one["name"], str(one["type"]), one["nullable"]) for one in found.get_columns(name)],
            found.get_pk_constraint(name)["constrained_columns"],
            sorted(str(one["column_names"]) for one in found.get_indexes(name)),
            sorted((one["name"], *one["column_names"]) for one in found.get_unique_constraints(name)),
            [(one["referred_table"], one["options"]) for one in found.get_foreign_keys(name)],
        )
        for name in found.get_table_names()
    }
    engine.dispose()
    return described


def test_migrations_and_a_fresh_database_have_one_schema(postgres, store_of, url):
    store_of("one").hosts.all()
    migrated = postgres.database()
    engine = connect(parse(migrated))
    with engine.connect() as connection, connection.begin():
        migrate.run(connection)
        assert revision(connection) == tables.REVISION
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match="append-only"):
        connection.exec_driver_sql("DELETE FROM audit")
    engine.dispose()

    assert shape(migrated) == shape(url)


def test_an_older_schema_is_migrated_once_by_several_that_start_at_once(postgres, tmp_path):
    url = postgres.database()
    engine = connect(parse(url))
    with engine.connect() as connection, connection.begin():
        migrate.run(connection, to="0004")
    engine.dispose()
    stores = [Store(StatePaths(tmp_path / str(number)).make(), url) for number in range(4)]
    faults: list[BaseException] = []

    def use(store: Store) -> None:
        try:
            store.queue.waiting()
        except BaseException as error:  # noqa: BLE001
            faults.append(error)

    threads = [threading.Thread(target=use, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert faults == []


def code_of(url: str, tmp_path) -> str:
    with pytest.raises(DeploydError) as caught:
        Store(StatePaths(tmp_path / "s").make(), url).hosts.all()
    assert "hunter2" not in str(caught.value.to_json())
    return caught.value.code


def test_what_is_wrong_with_a_database_has_a_code_and_tells_no_password(postgres, tmp_path, url):
    assert code_of("mysql://ada:hunter2@db/deployd", tmp_path) == "database-url-invalid"
    assert code_of("postgresql://ada:hunter2@[", tmp_path) == "database-url-invalid"
    assert code_of("postgresql://ada:hunter2@127.0.0.1:1/deployd", tmp_path) == "database-unreachable"
    assert code_of("postgresql://ada:hunter2@no-such-host.invalid/deployd", tmp_path) == "database-unreachable"
    assert code_of(postgres.url("missing", password="hunter2"), tmp_path) == "database-unknown"
    postgres.execute("DROP ROLE IF EXISTS locked")
    postgres.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
    name = url.partition("?")[0].rpartition("/")[2]
    assert code_of(postgres.url(name, user="locked", password="hunter2"), tmp_path) == "database-refused"
    assert code_of(postgres.url(name, user="locked", password="right"), tmp_path) == "store-not-migrated"
    postgres.execute("DROP ROLE locked")
    with pytest.raises(ConfigError):
        parse("nonsense hunter2")
    assert told("postgresql+psycopg://ada:hunter2@db.example:5432/deployd?sslmode=require") == (
        "postgresql://ada@db.example:5432/deployd"
    )


def test_a_newer_schema_is_refused(store_of, postgres, url):
    store_of("one").hosts.all()
    name = url.partition("?")[0].rpartition("/")[2]
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", database=name)
    with pytest.raises(DeploydError) as caught:
        store_of("two").hosts.all()
    assert caught.value.code == "store-newer"


def test_every_machine_has_the_same_key_and_one_that_has_not_opens_and_seals_nothing(store_of):
    one, two, three = store_of("one"), store_of("two"), store_of("three")
    one.variables.put(APP, PRODUCTION, "KEY", Secret("a"), build=False, who="ada")
    with pytest.raises(DeploydError) as missing:
        two.variables.put(APP, PRODUCTION, "KEY", Secret("b"), build=False, who="ada")
    assert missing.value.code == "key-missing"
    assert not two.paths.key.exists()
    three.paths.key.write_text("ab" * 32)
    three.paths.key.chmod(0o600)
    with pytest.raises(DeploydError) as wrong:
        three.keyring.check()
    assert wrong.value.code == "key-wrong"
    two.paths.key.write_bytes(one.paths.key.read_bytes())
    two.paths.key.chmod(0o600)
    assert two.variables.reveal(APP, PRODUCTION)["KEY"].reveal() == "a"


def test_a_lock_is_one_process_s_and_free_with_its_session(store_of):
    one, two = store_of("one"), store_of("two")
    held = locks.held_by(who="ada", command="deployd release")
    first, second = (locks.app_lock(store.paths, APP, PRODUCTION, store=store) for store in (one, two))
    assert first.take(held)
    assert not locks.app_lock(one.paths, APP, PRODUCTION, store=one).take(held)  # another thread of the same process
    assert not second.take(held)
    assert "ada's `deployd release`" in second.busy("shop production").what
    assert locks.app_lock(two.paths, APP, EnvironmentName.parse("staging"), store=two).take(held)
    first.close()
    assert second.take(held)
    two.close()
    assert first.take(held, wait=5)


def test_who_gives_no_sign_of_life_loses_its_locks_and_who_lost_its_session_gets_them_back(store_of, monkeypatch):
    one, two = store_of("one").presence, store_of("two").presence
    name = one.own_name()
    deadline = time.monotonic() + 60
    while not two.alive(name) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert one.take("clock", {})
    one._connected().exec_driver_sql("SET application_name = 'one'")
    one._drop()  # as when the server was restarted
    deadline = time.monotonic() + 60
    while not one.holds("clock") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert one.holds("clock")
    assert not two.take("clock", {})
    with one._mutex:  # as a process that was stopped: its session is there, its signs of life are not
        deadline = time.monotonic() + 60
        while two.alive(name) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert two.take("clock", {})
    deadline = time.monotonic() + 60
    while not two.alive(name) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not one.holds("clock")
    assert two.holds("clock")


def test_a_server_that_is_restarted_is_waited_for(store_of, postgres):
    store = store_of("one")
    store.hosts.all()
    done: list[object] = []
    postgres.stop()
    thread = threading.Thread(target=lambda: done.append(store.queue.waiting()))
    thread.start()
    time.sleep(0.5)
    assert done == []
    postgres.start()
    thread.join(90)
    assert done == [()]


def test_a_broken_transaction_leaves_nothing_and_is_told(store_of, postgres, url):
    store = store_of("one")
    store.hosts.all()
    name = url.partition("?")[0].rpartition("/")[2]

    def write() -> None:
        with store.database.write() as connection:
            connection.exec_driver_sql("INSERT INTO facts VALUES ('a', 'b')")
            postgres.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
            )
            connection.exec_driver_sql("INSERT INTO facts VALUES ('c', 'd')")

    with pytest.raises(DatabaseError) as caught:
        write()
    assert caught.value.code == "database-unreachable"
    with store.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM facts").scalar() == 0
    assert isinstance(store.database, Postgres)


def test_a_sqlite_file_is_copied_whole_and_numbers_go_on(tmp_path, url):
    paths = StatePaths(tmp_path / "state").make()
    source, target = Store(paths), Store(paths, url)
    release = release_of(1)
    source.releases.add(release, provenance=provenance_of(release))
    source.variables.put(APP, PRODUCTION, "KEY", Secret("a"), build=False, who="ada")
    source.variables.freeze(release.id, APP, PRODUCTION)
    rollout = add_rollout(source)
    first, _ = source.queue.add(ask_of("one"))
    with pytest.raises(DeploydError) as unfinished:
        copy(source, target)
    assert unfinished.value.code == "rollouts-unfinished"
    source.rollouts.finish(rollout, state="live", outcome="live", result={"a": [1]}, error=None)

    copied = copy(source, target)

    assert copied["releases"] == copied["release_variables"] == copied["rollouts"] == copied["asks"] == 1
    assert target.rollouts.get(rollout) == source.rollouts.get(rollout)
    assert target.releases.get(release.id) == source.releases.get(release.id)
    assert target.variables.of_release(release.id) == {"KEY": Secret("a")}
    assert target.queue.add(ask_of("one")) == (first, False)
    second, _ = target.queue.add(ask_of("two"))
    assert target.queue.get(second).number > target.queue.get(first).number
    assert len(target.audit.latest()) == 2
    with pytest.raises(DeploydError) as filled:
        copy(source, target)
    assert filled.value.code == "store-not-empty"
    source.close()
    target.close()


def test_the_command_line_says_which_database_and_copies_into_it(tmp_path, postgres):
    paths = StatePaths(tmp_path / "state").make()
    source = Store(paths)
    source.queue.add(ask_of("one"))
    source.close()
    address = postgres.database().replace("deployd@", "deployd:hunter2@")
    env = {**os.environ, "DEPLOYD_STATE_DIR": str(paths.root), "DEPLOYD_WHO": "ada"}

    def deployd(*words: str, url: str | None = address) -> tuple[int, str]:
        command = [str(Path(sys.executable).with_name("deployd")), *words]
        settings = {**env, **({"DEPLOYD_DATABASE_URL": url} if url else {})}
        done = subprocess.run(
            command, env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert "hunter2" not in done.stdout + done.stderr
        return done.returncode, done.stdout + done.stderr

    assert "SQLite" in deployd("database", "show", url=None)[1]
    code, said = deployd("database", "copy", "--json")
    assert (code, json.loads(said)["rows"]["asks"]) == (0, 1)
    assert json.loads(deployd("database", "show", "--json")[1])["shared"] is True
    assert f"({postgres.folder})" in deployd("database", "show")[1]
    code, said = deployd("database", "copy")
    assert (code, "store-not-empty" in said) == (2, True)
    code, said = deployd("releases", "--app-dir", str(tmp_path), url="postgresql://ada:hunter2@127.0.0.1:1/x")
    assert code != 0
    (tmp_path / "deployd.toml").write_text('name = "shop"\n[environments.production]\nhosts = ["web1"]\n')
    code, said = deployd("releases", url="postgresql://ada:hunter2@127.0.0.1:1/x")
    assert (code, "database-unreachable" in said) == (1, True)
    code, said = deployd("config", "--json")
    assert code == 0
    (shown,) = [one["value"] for one in json.loads(said)["settings"] if one["key"] == "database_url"]
    assert shown.startswith("postgresql://deployd@(")
