"""What another machine's process left: its steps are done again exactly where its files are missing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deployd.domain.artifact import Manifest
from deployd.domain.events import quiet
from deployd.domain.ids import AppName, EnvironmentName, HostName, RolloutId
from deployd.domain.options import Options
from deployd.domain.stages import SourceRequest
from deployd.hosts.pool import Pool
from deployd.paths import StatePaths
from deployd.rollouts.moving import move_here
from deployd.rollouts.states import State
from deployd.rollouts.wishes import ReleaseWish, RollbackWish, kind_of, wish_to_json
from deployd.stages.package import artifacts
from deployd.store import Store
from tests.contract.test_store import provenance_of, release_of

APP, PRODUCTION = AppName.parse("shop"), EnvironmentName.parse("production")
HOSTS = (HostName.parse("web1"),)
RELEASE = ReleaseWish(
    app=APP, environment=PRODUCTION, source=SourceRequest(repository="/r", ref="main"), hosts=HOSTS, options=Options()
)
ROLLBACK = RollbackWish(app=APP, environment=PRODUCTION, hosts=HOSTS, options=Options())


@pytest.fixture
def machines(tmp_path, postgres):
    url = postgres.database()
    made = [Store(StatePaths(tmp_path / name).make(), url) for name in ("one", "two")]
    yield made
    for store in made:
        store.close()


def begins_anew(store, rollout) -> bool:
    forgotten: list[RolloutId] = []
    workshop = SimpleNamespace(
        store=store, paths=store.paths, durable=True, engine=SimpleNamespace(forget=forgotten.extend), pool_of=Pool.of
    )
    anew = move_here(workshop, store.rollouts.get(rollout), report=quiet)
    assert forgotten == ([rollout] if anew else [])
    return anew


def left_by(store, state: State, *, wish=RELEASE, release=None) -> RolloutId:
    rollout = RolloutId.new()
    store.rollouts.add(
        rollout, kind=kind_of(wish), app=APP, environment=PRODUCTION, state=state, who="ada",
        owner=store.presence.own_name(), wish=wish_to_json(wish), release=release,
    )  # fmt: skip
    return rollout


def test_a_build_is_begun_anew_and_what_the_hosts_alone_go_on_with_is_not(machines):
    one, two = machines
    for state in State:
        rollout = left_by(one, state)
        assert begins_anew(two, rollout) is (state in {State.WAITING, State.BUILDING, State.PREPARING}), state
        assert not begins_anew(one, rollout)  # its files are here
    assert not begins_anew(two, left_by(one, State.PREPARING, wish=ROLLBACK))


def test_what_is_prepared_goes_on_where_its_artifact_can_be_had(machines):
    one, two = machines
    release = release_of(1)
    one.releases.add(release, provenance=provenance_of(release))
    assert begins_anew(two, left_by(one, State.PREPARING, release=release.id))
    manifest = Manifest(entry="server.js", files=())
    artifacts.write(manifest, artifacts=two.paths.artifacts)
    (two.paths.artifacts / "manifests" / f"{manifest.name}.json").rename(
        two.paths.artifacts / "manifests" / f"{release.artifact}.json"
    )
    assert not begins_anew(two, left_by(one, State.PREPARING, release=release.id))
    assert begins_anew(two, left_by(one, State.BUILDING, release=release.id))
