"""Assets in a bucket, as the recipes treat it: before the flip or not at all, kept with their release, gone with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployd.domain.artifact import FileEntry, Manifest
from deployd.domain.ids import EnvironmentName
from deployd.domain.options import Assets, Keep, Options
from deployd.domain.secret import Secret
from deployd.errors import ConfigError, StorageError
from deployd.rollouts import assets, sharing
from deployd.rollouts.assets import KEYS, keys_of
from deployd.stages.package.assetbucket import Sent

BUCKET = Assets(bucket="shop-assets", prefix="shop", url="https://cdn.example/shop")
FILES = (FileEntry(path=".next/static/a.js", mode=0o644, size=1, sha256="0" * 64),)
WITH_ASSETS = Manifest(entry="server.js", files=FILES, assets={"/_next/static": ".next/static"})


class Bucket:
    """Remembers which releases have their assets in it; refuses while it is broken."""

    name = "s3://shop-assets/shop"

    def __init__(self) -> None:
        self.releases: set[str] = set()
        self.keys: list[object] = []
        self.broken = self.closed = False

    def check(self):
        if self.closed:
            raise StorageError("the bucket does not say what is in it", code="assets-failed", fix="mend it")

    def send(self, manifest, *, release, **_):
        self._refuse()
        self.releases.add(release)
        return Sent(files=len(manifest.files), sent=1, bytes_sent=1)

    def prune(self, *, kept, **_):
        self._refuse()
        gone = self.releases - set(kept)
        self.releases -= gone
        return len(gone)

    def _refuse(self):
        if self.broken:
            raise StorageError("the bucket did not take the assets", code="assets-failed", fix="mend it")


@pytest.fixture
def bucket(monkeypatch):
    made = Bucket()

    def of(_assets, keys):
        made.keys.append(keys)
        return made

    monkeypatch.setattr(assets, "_bucket", of)
    monkeypatch.setattr(sharing.package, "load", staticmethod(lambda *_: WITH_ASSETS))
    return made


def options(**more):
    return Options(assets=BUCKET, keep=Keep(releases=2, failed=0, skew_protection=0.0), **more)


def test_assets_are_there_before_the_flip_and_go_with_their_release(fleet_of_three, bucket):
    fleet = fleet_of_three
    releases = [fleet.release(commit, options=options()).release for commit in ("one", "two", "three")]
    assert bucket.releases == set(releases[1:])
    order = [one["event"] for one in fleet.events]
    assert order.index("assets_sent") < order.index("release_flipped")
    assert [one["removed"] for one in fleet.told("assets_pruned")] == [1]


def test_a_bucket_that_refuses_ends_the_release_before_the_flip(fleet_of_three, bucket):
    fleet = fleet_of_three
    first = fleet.release("one", options=options())
    bucket.broken = True
    with pytest.raises(StorageError) as refused:
        fleet.release("two", options=options())
    assert refused.value.code == "assets-failed"
    fleet.assert_live(first.release)
    assert len(fleet.told("release_flipped")) == len(fleet.names)
    bucket.broken = False
    bucket.closed = True  # and this is told before anything is built
    with pytest.raises(StorageError):
        fleet.release("two", options=options())
    assert fleet.told("build_planned")[-1]["rollout"] != fleet.last().id
    bucket.closed = False
    second = fleet.release("two", options=options())
    fleet.assert_live(second.release)


def test_nothing_is_removed_from_the_bucket_when_a_host_does_not_say_what_it_has(fleet_of_three, bucket):
    fleet = fleet_of_three
    for commit in ("one", "two"):
        fleet.release(commit, options=options())
    fleet.make("web2", "fail-prune")
    fleet.release("three", options=options())
    assert len(bucket.releases) == 3


def test_without_assets_or_hashed_files_no_bucket_is_asked(fleet_of_three, bucket, monkeypatch):
    fleet_of_three.release("one")
    monkeypatch.setattr(sharing.package, "load", staticmethod(lambda *_: replace(WITH_ASSETS, assets={})))
    fleet_of_three.release("two", options=replace(options(), keep=Keep(releases=5)))
    assert not bucket.releases
    assert fleet_of_three.told("assets_sent") == []


def test_the_keys_of_an_environment_win_over_the_machines_and_reach_no_server(fleet_of_three, bucket, monkeypatch):
    fleet, variables = fleet_of_three, fleet_of_three.store.variables
    where = (fleet.app, fleet.environment)
    assert keys_of(fleet.store, *where) is None
    monkeypatch.setenv(KEYS[0], "machine")
    with pytest.raises(ConfigError) as half:
        keys_of(fleet.store, *where)
    assert half.value.code == "assets-keys-missing"
    monkeypatch.setenv(KEYS[1], "machine-secret")
    assert keys_of(fleet.store, *where) == (Secret("machine"), Secret("machine-secret"))
    for name, value in zip(KEYS, ("own", "own-secret"), strict=True):
        variables.put(*where, name, Secret(value), build=False, who="ada")
    made = fleet.release("one", options=options())
    assert bucket.keys[0] == (Secret("own"), Secret("own-secret"))
    assert not set(KEYS) & set(variables.of_release(made.release))
    assert not set(KEYS) & set(variables.reveal(*where, build=True))
    assert "own-secret" not in str(fleet.events)


def test_a_release_whose_pages_ask_another_environments_bucket_is_not_promoted(fleet_of_three, bucket):
    fleet = fleet_of_three
    made = fleet.release("one", options=options())
    with pytest.raises(ConfigError) as refused:
        fleet.promote(made.release, environment=EnvironmentName("staging"))
    assert refused.value.code == "assets-elsewhere"
    assert BUCKET.url in refused.value.what
