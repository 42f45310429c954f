"""Rollouts that an earlier version left unfinished: today's code opens its database and ends each, live or turned back.

The files are written by `scripts/histories`; each holds what a process that was killed after a step left.
"""

from __future__ import annotations

import base64
import fcntl
import json
import lzma
import os
import shutil
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.fleets import APP, HOSTS, PRODUCTION, Fleet, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).with_name("histories")


PLACE = Path("/var/tmp/deployd-history")
"""Where they were written: kept steps name a checkout by its whole path."""


@pytest.fixture
def place() -> Iterator[Path]:
    """The folder, for this test alone. It is held by a lock: a run that was killed leaves the folder, and holds nothing."""
    held: list[int] = []
    wait_for(lambda: _take(held), seconds=60)
    try:
        yield PLACE
    finally:
        shutil.rmtree(PLACE)
        os.close(held[-1])


def _take(held: list[int]) -> bool:
    """Have the folder, empty; False while another run has it."""
    PLACE.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(PLACE, os.O_RDONLY)
    if not _is_ours(descriptor):
        os.close(descriptor)
        return False
    for one in PLACE.iterdir():
        shutil.rmtree(one)
    held.append(descriptor)
    return True


def _is_ours(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(descriptor).st_ino == PLACE.stat().st_ino
    except (BlockingIOError, FileNotFoundError):  # another has it, or has just removed it
        return False


@cache
def written_by(version: str) -> dict:
    return json.loads(lzma.decompress((FOLDER / f"{version}.json.xz").read_bytes()))


def everything() -> list[tuple[str, str]]:
    versions = [file.name.removesuffix(".json.xz") for file in sorted(FOLDER.glob("*.json.xz"))]
    return [(version, name) for version in versions for name in written_by(version)["histories"]]


def thaw(version: str, name: str, folder: Path, server) -> Fleet:
    """The fleet and the state folder as they were left."""
    document = written_by(version)
    history = document["histories"][name]
    fleet = Fleet(folder, server)
    fleet.state.mkdir(mode=0o700)
    with closing(sqlite3.connect(fleet.state / "deployd.sqlite")) as database:
        database.executescript("\n".join(document["lines"][number] for number in history["sql"]))
    (fleet.state / "key").write_bytes(base64.b64decode(history["key"]))
    (fleet.state / "key").chmod(0o600)
    for path, text in history["files"].items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for host, left in history["hosts"].items():
        root = fleet.hosts / host
        root.mkdir(parents=True)
        (root / "state.json").write_text(json.dumps(left["state"]))
        if left["current"]:
            (root / "current").symlink_to(left["current"])
    return fleet


@pytest.mark.parametrize(("version", "name"), everything())
def test_it_ends_live_or_turned_back(place, server, version, name):
    fleet = thaw(version, name, place, server)
    before = fleet.live
    code, told = fleet.run("resume")
    assert code == 0, told
    fleet.assert_settled()
    fleet.assert_complete()
    assert len(set(fleet.live.values())) == 1, (before, fleet.live)
    client = fleet.client()
    last = client.rollouts(APP, PRODUCTION)[0]
    client.close()
    if name.startswith("turning back"):
        assert last.outcome == "failed"
        assert last.release not in fleet.live.values()
    else:
        assert last.outcome == "live", last.error
        assert set(fleet.live.values()) == {last.release}
    assert fleet.run("release", "--commit", "next")[0] == 0  # and life goes on
    assert set(fleet.live) == set(HOSTS)


def test_every_version_has_histories_of_every_kind():
    versions = {version for version, _ in everything()}
    assert len(versions) >= 2, "the version before this one, and this one"
    for version in versions:
        kinds = {name.split(" ")[0] for one, name in everything() if one == version}
        assert {"release", "rollback", "turning"} <= kinds


def test_a_history_is_what_it_says(tmp_path, server):
    """The rollout in it is not at its end, or the test above would prove nothing."""
    for version, name in everything():
        if name.endswith("after close"):
            continue
        folder = tmp_path / version / name.replace(" ", "-")
        folder.mkdir(parents=True)
        fleet = thaw(version, name, folder, server)
        with closing(sqlite3.connect(fleet.state / "deployd.sqlite")) as database:
            (left,) = database.execute("SELECT count(*) FROM rollouts WHERE finished IS NULL").fetchone()
        assert left == 1, (version, name)
