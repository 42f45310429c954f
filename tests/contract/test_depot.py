"""Artifacts through an S3-compatible store: what one state folder has, another one gets, whole or not at all."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import httpx
import obstore
import pytest
from moto.server import ThreadedMotoServer

from deployd.domain.artifact import FileEntry, Manifest
from deployd.domain.events import quiet
from deployd.errors import NotFoundError, StorageError
from deployd.paths import StatePaths
from deployd.rollouts import sharing
from deployd.stages import package
from deployd.stages.package import artifacts as kept
from deployd.stages.package import objects
from deployd.stages.package.depot import Depot

if TYPE_CHECKING:
    from deployd.domain.ids import ArtifactName


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def depot(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    bucket = f"b{random.randrange(10**9)}"
    assert httpx.put(f"{endpoint}/{bucket}").status_code == 200
    return Depot(f"s3://{bucket}/deployd", endpoint=endpoint)


@pytest.fixture
def one(tmp_path):
    return StatePaths(tmp_path / "one").make()


@pytest.fixture
def two(tmp_path):
    return StatePaths(tmp_path / "two").make()


def artifact_in(paths, *contents: bytes) -> ArtifactName:
    files = []
    for number, content in enumerate(contents):
        source = paths.root / f"file{number}"
        source.write_bytes(content)
        sha256, size, _ = objects.store_file(str(source), artifacts=paths.artifacts)
        files.append(FileEntry(path=f"f{number}", mode=0o644, size=size, sha256=sha256))
    return kept.write(Manifest(entry="f0", files=tuple(files)), artifacts=paths.artifacts).name


def test_an_artifact_of_one_state_folder_is_had_in_another(depot, one, two):
    big = os.urandom(12_000_000)
    name = artifact_in(one, b"server", b"", big, b"server")
    assert depot.keep(name, artifacts=one.artifacts) == 3
    assert depot.keep(name, artifacts=one.artifacts) == 0

    fetched = depot.fetch(name, artifacts=two.artifacts)

    assert (fetched.name, fetched.files) == (name, 4)
    manifest = package.load(two.artifacts, name)
    assert manifest == package.load(one.artifacts, name)
    for entry in manifest.files:
        assert objects.path_of(two.artifacts, entry.sha256).read_bytes() == (
            objects.path_of(one.artifacts, entry.sha256).read_bytes()
        )
    other = artifact_in(one, b"server", b"changed")
    assert depot.keep(other, artifacts=one.artifacts) == 1  # only what is new travels


def test_what_is_not_there_or_not_whole_is_told_and_leaves_no_manifest(depot, one, two):
    name = artifact_in(one, b"a", b"b")
    with pytest.raises(NotFoundError) as missing:
        depot.fetch(name, artifacts=two.artifacts)
    assert missing.value.code == "artifact-not-found"
    depot.keep(name, artifacts=one.artifacts)
    sha256 = package.load(one.artifacts, name).files[0].sha256
    place = f"objects/{sha256[:2]}/{sha256}"
    obstore.put(depot._store, place, b"x")  # somebody wrote over it
    with pytest.raises(StorageError) as damaged:
        depot.fetch(name, artifacts=two.artifacts)
    assert damaged.value.code == "storage-damaged"
    obstore.delete(depot._store, place)
    with pytest.raises(NotFoundError):
        depot.fetch(name, artifacts=two.artifacts)
    with pytest.raises(NotFoundError):
        package.load(two.artifacts, name)


def test_a_store_that_does_not_answer_or_refuses_is_told_without_its_keys(one, depot, endpoint):
    name = artifact_in(one, b"a")
    with pytest.raises(StorageError) as refused:
        Depot("s3://no-such-bucket-here/x", endpoint=endpoint).keep(name, artifacts=one.artifacts)
    assert refused.value.code == "storage-failed"
    assert "secret" not in str(refused.value.to_json())


def test_the_setting_decides_whether_artifacts_are_shared(depot, endpoint, one, two, monkeypatch):
    name = artifact_in(one, b"a", b"b")
    with pytest.raises(NotFoundError):
        sharing.have(two, name, report=quiet)
    depot.keep(name, artifacts=one.artifacts)
    with pytest.raises(NotFoundError):
        sharing.have(two, name, report=quiet)
    monkeypatch.setenv("DEPLOYD_ARTIFACT_STORE", depot.url)
    monkeypatch.setenv("DEPLOYD_ARTIFACT_STORE_ENDPOINT", endpoint)
    told = []
    assert sharing.have(two, name, report=lambda event, **_: told.append(str(event))).name == name
    assert told == ["artifact_fetched"]
    assert sharing.have(two, name, report=quiet).name == name
