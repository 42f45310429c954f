"""Ids, manifests and secrets: what they accept, and that what is stored comes back."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployd.domain.artifact import FileEntry, LinkEntry, Manifest, content_time, path_from_json, path_to_json
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
from deployd.domain.secret import Secret

COMMIT = "3fa9c01" + "0" * 33


def test_a_release_id_is_a_dns_label_with_the_commit_in_it() -> None:
    release = ReleaseId.new(commit=COMMIT)

    assert "-3fa9c01-" in release
    assert len(release) <= 40
    assert ReleaseId.parse(str(release)) == release


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)), st.integers(1, 10**7))  # noqa: DTZ001
def test_release_ids_sort_by_time(moment: datetime, later: int) -> None:
    first = moment.replace(tzinfo=UTC)

    assert ReleaseId.new(commit=COMMIT, at=first) < ReleaseId.new(commit=None, at=first + timedelta(seconds=later))


def test_two_releases_of_one_second_differ() -> None:
    now = datetime.now(UTC)

    assert len({ReleaseId.new(commit=COMMIT, at=now) for _ in range(50)}) > 45  # a million tails: two may meet


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (AppName, "Shop"), (AppName, "-shop"), (AppName, "shop-"), (AppName, ""), (AppName, "a" * 31), (AppName, "shop\n"),
        (AppName, "../etc"), (EnvironmentName, "my-env"), (EnvironmentName, "1st"), (HostName, "-o"), (HostName, "a b"),
        (ReleaseId, "current"), (ReleaseId, "20261121-101530-3fa9c01-k2x7/.."), (ReleaseId, "20261121-101530-3fa9c01-k2x7\n"),
        (RolloutId, "r-1"), (BuildId, "b123"), (ArtifactName, "a" + "g" * 32), (RuntimeName, "node-22-linux-x64-glibc"),
    ],
)  # fmt: skip
def test_a_bad_id_is_refused_with_its_rule(kind: type[AppName], bad: str) -> None:
    with pytest.raises(ValueError, match=f"not a valid {kind.noun()}"):
        kind.parse(bad)


def test_ids_survive_pickling_as_their_own_type() -> None:
    release = ReleaseId.new(commit=None)

    assert type(pickle.loads(pickle.dumps(release))) is ReleaseId


paths = st.binary(min_size=1, max_size=30).map(lambda raw: raw.decode(errors="surrogateescape"))


@given(paths)
def test_any_file_name_survives_json(path: str) -> None:
    assert path_from_json(json.loads(json.dumps(path_to_json(path)))) == path


@given(paths, paths, st.integers(0, 2**40), st.sampled_from(["content", "build"]))
def test_a_manifest_comes_back_as_it_was(path: str, target: str, size: int, time: str) -> None:
    manifest = Manifest(
        entry="server.js",
        files=(
            FileEntry(path=path, mode=0o644, size=size, sha256="ab" * 32, time=time),  # type: ignore[arg-type]
            LinkEntry(path="link", target=target),
        ),
        writable={"cache": ".next/cache"},
        assets={"/_next/static": ".next/static"},
        public={"/": "public"},
        built=17,
    )

    back = Manifest.from_json(json.loads(json.dumps(manifest.to_json())))

    assert back == manifest
    assert back.name == manifest.name


def test_the_name_depends_on_content_and_not_on_when_it_was_built() -> None:
    entry = FileEntry(path="a", mode=0o644, size=1, sha256="ab" * 32)
    first = Manifest(entry="a", files=(entry,), built=1)

    assert Manifest(entry="a", files=(entry,), built=2).name == first.name
    assert Manifest(entry="b", files=(entry,), built=1).name != first.name


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format 2"):
        Manifest.from_json(Manifest(entry="a", files=()).to_json() | {"v": 2})


def test_equal_content_has_equal_times() -> None:
    assert content_time("ab" * 32) == content_time("ab" * 32)
    assert 1_000_000_000 <= content_time("ff" * 32) < 1_100_000_000


def test_a_secret_shows_nothing() -> None:
    secret = Secret("hunter2")

    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "hunter2"
    assert secret == Secret("hunter2")
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
