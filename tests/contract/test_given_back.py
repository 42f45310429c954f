"""An artifact that this machine lost comes back from a host that has a release of it, by the real helper, checked."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from deployd.domain.events import Event, quiet
from deployd.domain.host import Host
from deployd.domain.ids import HostName, ReleaseId
from deployd.domain.options import Options
from deployd.errors import HostError, NotFoundError
from deployd.hosts import givenback
from deployd.hosts.pool import Pool
from deployd.paths import StatePaths
from deployd.rollouts import sharing
from deployd.rollouts.wishes import RollbackWish, wish_to_json
from deployd.store import Store
from tests.contract.test_helper_client import (
    APP,
    CONTENTS,
    ENVIRONMENT,
    FIRST,
    HOST,
    SECOND,
    Heard,
    Release,
    first,
    helper,
    local,
    pool,
)
from tests.contract.test_store import add_rollout, release_of

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.hosts.helper import Helper
    from deployd.hosts.local import Local

__all__ = ["first", "helper", "local", "pool"]
OTHER = HostName.parse("web2")


@pytest.fixture
def lost(tmp_path: Path, pool: Pool, first: Release):
    """A store that knows the release and its host, and a state folder without the artifact."""
    first.ship(pool, FIRST)
    shutil.rmtree(first.artifacts)
    store = Store(StatePaths(tmp_path / "state").make())
    for name in (OTHER, HOST):
        store.hosts.put(Host(name=name, address="192.0.2.1", host_key="ssh-ed25519 AAAA"), who="test")
    known = replace(release_of(1), id=FIRST, app=APP, environment=ENVIRONMENT, artifact=first.manifest.name)
    store.releases.add(known, provenance=first.provenance(FIRST))
    wish = RollbackWish(app=APP, environment=ENVIRONMENT, hosts=(OTHER, HOST), options=Options())
    store.rollouts.add(
        add_rollout_id(), kind="rollback", app=APP, environment=ENVIRONMENT, state="live", who="ada", owner="1:2:b",
        wish=wish_to_json(wish), release=FIRST,
    )  # fmt: skip
    add_rollout(store, environment=ENVIRONMENT)  # one whose wish cannot be read any more
    yield store
    store.close()


def add_rollout_id():
    from deployd.domain.ids import RolloutId

    return RolloutId.new()


def again(store: Store, first: Release, local: Local, heard=quiet):
    """Have it here again; `web2` is a host that does not have it."""

    def pool_of(names):
        return Pool.of({name: local if name == HOST else Empty(local) for name in names})

    return sharing.have(store.paths, first.manifest.name, report=heard, store=store, pool_of=pool_of)


class Empty:
    """A host of that name that has nothing, and one that closes nothing of the other."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self.name, self.address = OTHER, "192.0.2.2"

    def connect(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""

    def call(self, argv, **more):
        return self._local.call([*argv[:3], SECOND, *argv[4:]], **more)

    def open(self, argv):
        return self._local.open([*argv[:3], SECOND, *argv[4:]])


def test_it_comes_back_whole_from_a_host_that_has_it(lost: Store, first: Release, local: Local) -> None:
    heard = Heard()
    assert again(lost, first, local, heard) == first.manifest
    kept = lost.paths.artifacts / "objects"
    found = {path.name: path.read_bytes() for path in kept.glob("*/*")}
    assert sorted(found.values()) == sorted(CONTENTS.values())
    (told,) = heard.named(Event.ARTIFACT_FETCHED)
    assert (told["artifact"], told["host"], told["files"]) == (first.manifest.name, HOST, 5)
    assert sharing.have(lost.paths, first.manifest.name, report=quiet) == first.manifest, "it is here now"


def test_what_a_host_changed_is_not_kept(lost: Store, first: Release, local: Local) -> None:
    changed = local.root / "srv/deployd/apps/shop/production/releases" / FIRST / "server.js"
    changed.chmod(0o644)
    changed.write_bytes(b"evil!")
    with pytest.raises(NotFoundError) as caught:
        again(lost, first, local)
    assert caught.value.code == "artifact-missing"
    assert f"what {HOST} gives is not the artifact" in str(caught.value.details)
    assert f"{OTHER}, {FIRST}" in str(caught.value.details)
    assert not (lost.paths.artifacts / "manifests" / f"{first.manifest.name}.json").exists()
    assert b"evil!" not in {path.read_bytes() for path in lost.paths.artifacts.glob("objects/*/*")}


def test_a_manifest_of_something_else_is_not_taken(lost: Store, first: Release, local: Local) -> None:
    path = local.root / "srv/deployd/apps/shop/production/releases" / FIRST / ".deployd/manifest.json"
    document = json.loads(path.read_text())
    path.chmod(0o644)
    path.write_text(json.dumps(document | {"entry": "lib/server.js"}))
    with pytest.raises(NotFoundError):
        again(lost, first, local)
    assert not list(lost.paths.artifacts.glob("objects/*/*"))


def test_only_what_a_sealed_release_names_is_given(helper: Helper, pool: Pool, first: Release) -> None:
    first.ship(pool, FIRST)
    stranger = replace(first.manifest.files[1], sha256="0" * 64)
    with pytest.raises(HostError) as caught:
        givenback.contents(helper.transport, APP, ENVIRONMENT, FIRST, [stranger], take=lambda *_: None)
    assert caught.value.code == "bad-request"
    for release in (SECOND, ReleaseId("..")):
        with pytest.raises(HostError):
            givenback.manifest(helper.transport, APP, ENVIRONMENT, release)


def test_an_artifact_of_which_no_release_is_known_is_told(lost: Store, first: Release, local: Local) -> None:
    unknown = replace(first.manifest, entry="lib/server.js")
    with pytest.raises(NotFoundError) as caught:
        sharing.have(lost.paths, unknown.name, report=quiet, store=lost, pool_of=lambda _: Pool.of({}))
    assert "no host is known" in str(caught.value.details)
