"""A process killed while a release bakes: whoever comes next goes on baking, by the hosts' clocks, and decides."""

from __future__ import annotations

import json

import pytest

from deployd.rollouts import steps
from tests.faults.fleets import HOSTS, KILLED, Fleet, release_of


def meet(fleet: Fleet, *, old: str, new: str, errors: int) -> None:
    """What visitors of both releases met on each host."""
    rows = [[old, "/", 2, 300, 0, 1.0, {"60": 300}], [new, "/", 2, 300 - errors, 0, 1.0, {"60": 300 - errors}]]
    rows.append([new, "/", 5, errors, 0, 1.0, {"60": errors}])
    for name in HOSTS:
        (fleet.hosts / name / "traffic").write_text(json.dumps(rows))


@pytest.mark.parametrize("point", steps.checkpoints((steps.Step.BAKE,)))
def test_a_release_killed_while_it_bakes_is_judged_by_whoever_resumes_it(released, point):
    fleet, old = released
    code, _ = fleet.run("release", "--commit", "two", "--bake", "0.2", fault=f"{point}=kill")
    assert code == KILLED
    new = release_of(fleet)
    fleet.assert_one_live(new)
    meet(fleet, old=old, new=new, errors=150)

    code, done = fleet.run("resume")

    assert code == 0, done
    stays = point == "after:bake"  # what was kept is not asked again
    fleet.assert_one_live(new if stays else old)
    assert [one["outcome"] for one in done["result"]] == ["live" if stays else "failed"]
    fleet.assert_settled()
    fleet.assert_complete()


def test_a_rollback_takes_over_from_one_that_was_killed_while_it_baked(released):
    fleet, old = released
    code, _ = fleet.run("release", "--commit", "two", "--bake", "600", fault="before:bake=kill")
    assert code == KILLED
    assert fleet.run("rollback")[0] == 0
    fleet.assert_one_live(old)
    fleet.assert_settled()


@pytest.mark.parametrize("point", ["before:bake", "after:bake", "done:bake#2"])
def test_one_killed_while_its_first_wave_is_watched_goes_on_to_the_others(released, point):
    fleet, old = released
    code, _ = fleet.run("release", "--commit", "two", "--waves", "--bake", "0.2", fault=f"{point}=kill")
    assert code == KILLED
    new = release_of(fleet)
    meet(fleet, old=old, new=new, errors=0)

    code, done = fleet.run("resume")

    assert (code, [one["outcome"] for one in done["result"]]) == (0, ["live"]), done
    fleet.assert_one_live(new)
    fleet.assert_settled()
    fleet.assert_complete()


def test_a_rollback_after_a_kill_in_the_first_wave_leaves_no_host_with_it(released):
    fleet, old = released
    code, _ = fleet.run("release", "--commit", "two", "--waves", "--bake", "600", fault="before:bake=kill")
    assert code == KILLED
    assert fleet.run("rollback")[0] == 0
    fleet.assert_one_live(old)
    fleet.assert_settled()
