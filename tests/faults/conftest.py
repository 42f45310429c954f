"""Fleets for the tests of faults, made once and copied for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.fleets import Fleet, Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def templates(tmp_path_factory, server) -> tuple[Fleet, Fleet, Fleet]:
    """Fleets with no release, with one, and with two: made once, copied for each test."""
    bare = Fleet(tmp_path_factory.mktemp("bare"), server)
    bare.add_hosts()
    one = bare.copy(tmp_path_factory.mktemp("one"))
    assert one.run("release", "--commit", "one")[0] == 0
    two = one.copy(tmp_path_factory.mktemp("two"))
    assert two.run("release", "--commit", "two")[0] == 0
    return bare, one, two


@pytest.fixture
def fleet(tmp_path, templates) -> Fleet:
    return templates[0].copy(tmp_path)


@pytest.fixture
def released(tmp_path, templates) -> tuple[Fleet, str]:
    fleet = templates[1].copy(tmp_path)
    return fleet, fleet.live["web1"]


@pytest.fixture
def twice(tmp_path, templates) -> tuple[Fleet, str, str]:
    fleet = templates[2].copy(tmp_path)
    return fleet, templates[1].live["web1"], fleet.live["web1"]
