"""The store keeps what it is given, across processes, and gives no secret away: on SQLite and on PostgreSQL."""

from __future__ import annotations

import stat
import threading

import pytest
import sqlalchemy as sa

from deployd.domain.artifact import Provenance
from deployd.domain.ask import Ask
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
from deployd.store import Store
from deployd.store.deliveries import Arrival
from deployd.store.events import StoredEvent
from deployd.store.moments import now

APP = AppName.parse("shop")
PRODUCTION = EnvironmentName.parse("production")
STAGING = EnvironmentName.parse("staging")


@pytest.fixture
def paths(tmp_path):
    return StatePaths(tmp_path / "state").make()


@pytest.fixture(params=["sqlite", "postgres"])
def another(request, paths):
    """Makes stores on one database, as several processes do; all are closed at the end."""
    url = request.getfixturevalue("postgres").database() if request.param == "postgres" else None
    made: list[Store] = []

    def make() -> Store:
        made.append(Store(paths, url))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(another):
    return another()


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


def test_several_processes_make_the_tables_at_once(another):
    stores = [another() for _ in range(6)]
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
    assert failures == []


def test_writers_in_several_connections_wait_for_each_other(store, another):
    rollout = add_rollout(store)
    others = [another() for _ in range(4)]

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


def test_a_stop_request_is_seen_by_the_owner_and_refused_at_the_end(store, another):
    rollout, successor = add_rollout(store), RolloutId.new()
    other = another()

    assert other.rollouts.ask_to_stop(rollout, who="bob", superseded_by=successor)
    asked = store.rollouts.stop_request(rollout)
    assert (asked.cancelled_by, asked.superseded_by) == ("bob", successor)
    store.rollouts.finish(rollout, state="superseded", outcome="superseded", result={}, error=None)
    assert not other.rollouts.ask_to_stop(rollout, who="bob")


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


def test_a_variable_for_builds_and_servers_is_in_each_until_it_is_set_for_one(store):
    store.variables.put(APP, PRODUCTION, "DATABASE_URL", Secret("a"), build=False, both=True, who="ada")
    for build in (True, False):
        assert store.variables.reveal(APP, PRODUCTION, build=build)["DATABASE_URL"].reveal() == "a"
    assert [(one.build, one.both) for one in store.variables.of(APP, PRODUCTION)] == [(False, True)]

    store.variables.put(APP, PRODUCTION, "DATABASE_URL", Secret("b"), build=True, who="ada")
    assert store.variables.reveal(APP, PRODUCTION, build=False) == {}


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


def test_another_key_file_is_told_as_such(store, paths, another):
    store.variables.put(APP, PRODUCTION, "KEY", Secret("a"), build=False, who="ada")
    paths.key.write_text("ab" * 32)

    with pytest.raises(DeploydError) as caught:
        another().variables.reveal(APP, PRODUCTION)
    assert caught.value.code == "key-wrong"
    paths.key.chmod(0o644)
    with pytest.raises(DeploydError) as caught:
        another().variables.reveal(APP, PRODUCTION)
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


def ask_of(key: str | None, *, branch: str = "main") -> Ask:
    return Ask(
        kind="release", app=APP, environment=PRODUCTION, cause="push", who="a push", branch=branch, key=key,
        automatic=True,
    )  # fmt: skip


def test_an_ask_of_a_key_is_kept_once_and_a_push_replaces_those_that_wait(store, another):
    first, fresh = store.queue.add(ask_of("one"))
    again = another().queue.add(ask_of("one"))
    newer, _ = store.queue.add(ask_of("two"))
    elsewhere, _ = store.queue.add(ask_of(None, branch="next"))

    assert fresh
    assert again == (first, False)
    assert [one.id for one in store.queue.waiting()] == [newer, elsewhere]
    assert store.queue.get(first).outcome == "superseded"
    assert len(store.audit.latest()) == 3


def test_an_ask_is_taken_by_one_and_no_other_of_its_place_beside_it(store, another):
    first, second = (store.queue.add(ask_of(None, branch=branch))[0] for branch in ("main", "next"))
    other = another()

    assert store.queue.start(first, owner="a", alone=True)
    assert not other.queue.start(first, owner="b", alone=True)
    assert not other.queue.start(second, owner="b", alone=True)
    assert other.queue.owner_of(first) == "a"
    assert other.queue.ask_to_stop(first, who="bob")
    assert store.queue.cancelled_by(first) == "bob"
    assert other.queue.put_back(first)
    assert not other.queue.put_back(first)
    assert other.queue.start(second, owner="b", alone=True)


def test_a_delivery_starts_its_asks_once(store, another):
    arrival = Arrival(
        app="shop", delivery="d1", forge="github", origin="hook", what={"is": "push"}, asks=(ask_of("k"),)
    )
    (taken,) = store.deliveries.take([arrival])
    (again,) = another().deliveries.take([arrival])

    assert (taken.fresh, again.fresh) == (True, False)
    assert taken.rollouts == again.rollouts
    assert len(store.queue.waiting()) == 1


def test_the_audit_log_is_only_added_to(store):
    store.audit.add(
        who="ada", origin="test", action="release", app="shop", environment=None, subject=None, outcome="asked"
    )
    for statement in ("UPDATE audit SET who = 'eve'", "DELETE FROM audit"):
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), store.database.write() as connection:
            connection.exec_driver_sql(statement)
    assert [one.who for one in store.audit.latest()] == ["ada"]


def test_a_missing_key_is_made_anew_only_while_nothing_was_sealed_with_it(another, paths):
    """Else nobody could open what is kept, and the old one might still be in a backup."""
    first = another()
    first.keyring.check()
    first.secrets.put("hook", app="shop", name="", value=Secret("canary"), who="root")
    kept = paths.key.read_text()
    paths.key.unlink()
    second = another()
    for act in (
        second.keyring.check,
        lambda: second.secrets.put("hook", app="other", name="", value=Secret("x"), who="root"),
        lambda: second.secrets.reveal("hook", app="shop", name=""),
    ):
        with pytest.raises(DeploydError) as caught:
            act()
        assert caught.value.code == "key-missing"
        assert "backup" in caught.value.fix
        assert str(paths.key) in caught.value.what
    assert not paths.key.exists()
    paths.key.write_text(kept)
    paths.key.chmod(0o600)
    assert second.secrets.reveal("hook", app="shop", name="").reveal() == "canary"
