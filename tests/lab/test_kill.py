"""kill -9 at each step, on real servers under load: the release ends live or the old one is untouched, and nothing is lost.

The points come from the code (`deployd.rollouts.steps`): a new step is tested without anyone remembering. tests/faults kills at
every moment around every step on folder hosts; here it is once a step, when its effect is done and not yet kept.
"""

from __future__ import annotations

import signal
from itertools import count
from typing import TYPE_CHECKING

import pytest

from deployd.rollouts import steps
from tests.support.world import no_request_failed

if TYPE_CHECKING:
    from tests.support.world import Told, World

NOT_OF_AN_ARTIFACT = {steps.Step.SOURCE, steps.Step.BUILD}
RELEASE = [f"done:{step}" for step in steps.RELEASE if step not in NOT_OF_AN_ARTIFACT]
ROLLBACK = [f"done:{step}" for step in steps.ROLLBACK]


def killed_at(world: World, point: str, *words: str) -> Told:
    """Run a command that ends itself by SIGKILL at `point`."""
    world.env["DEPLOYD_TEST_FAULT"] = f"{point}=kill"
    try:
        return world.run(*words, check=-signal.SIGKILL)
    finally:
        del world.env["DEPLOYD_TEST_FAULT"]


def one_version(world: World) -> str:
    """The version that every host answers with; they must agree."""
    (version,) = set(world.versions())
    return version


_versions = count(1)


def released(world: World) -> int:
    """The version that is live: what the test before this one left, or a first one."""
    if world.status()["release"] is None:
        world.release(str(next(_versions)))
    return int(one_version(world).removeprefix("version "))


@pytest.mark.parametrize("point", RELEASE)
def test_a_killed_release_is_finished_or_turned_back_by_resume(lasting_world: World, point: str) -> None:
    world = lasting_world
    old, new = released(world), next(_versions)
    with world.load(connections=4) as load:
        killed_at(world, point, "release", "--artifact", world.artifact(str(new)), "--json")
        assert set(world.versions()) <= {f"version {old}", f"version {new}"}
        world.run("resume", "--json")

    assert one_version(world) == f"version {new}"
    assert len(set(load["releases"])) <= 2
    no_request_failed(load)


@pytest.mark.parametrize("point", ROLLBACK)
def test_a_killed_rollback_is_finished_by_resume(lasting_world: World, point: str) -> None:
    world = lasting_world
    old, new = released(world), next(_versions)
    world.release(str(new))
    with world.load(connections=4) as load:
        killed_at(world, point, "rollback", "--yes", "--json")
        world.run("resume", "--json")

    assert one_version(world) == f"version {old}"
    no_request_failed(load)


@pytest.mark.parametrize("point", ["done:prepare", "done:flip"])
def test_a_killed_release_never_overtakes_the_rollback_made_after_it(lasting_world: World, point: str) -> None:
    world = lasting_world
    old = released(world)
    first = world.status()["release"]
    world.release(str(next(_versions)))
    with world.load(connections=4) as load:
        killed_at(world, point, "release", "--artifact", world.artifact(str(next(_versions))), "--json")
        world.run("rollback", first, "--yes", "--json")
        world.assert_live(str(old))
        world.run("resume", "--json")

    world.assert_live(str(old))
    no_request_failed(load)
