"""A release that fails, is cancelled or meets a bug on three folder hosts: what is live then, and what is said of it."""

from __future__ import annotations

import pytest

from deployd.domain.options import Waves
from deployd.errors import (
    CancelledError,
    DeploydError,
    HostError,
    PartlyLiveError,
    UnreachableError,
)
from deployd.rollouts.states import State
from deployd.rollouts.steps import FAULT_VARIABLE


@pytest.mark.parametrize("verb", ["flip", "probe-web"])
def test_a_failure_in_a_later_wave_flips_every_host_back(fleet_of_three, verb):
    fleet = fleet_of_three
    first = fleet.release("one")
    fleet.make("web3", f"fail-{verb}", "probe-failed")

    with pytest.raises(HostError) as caught:
        fleet.release("two", waves=Waves(strategy="batch", batch=1, pause=0.0))

    fleet.assert_live(first.release)
    assert caught.value.exit_code == 1
    assert first.release in str(caught.value.live)
    assert fleet.told("release_flipped_back")
    assert fleet.last().state == State.FAILED


def test_the_first_release_that_fails_its_flip_leaves_no_current(fleet_of_three):
    fleet = fleet_of_three
    fleet.make("web2", "fail-probe-web", "probe-failed")

    with pytest.raises(HostError) as caught:
        fleet.release("one")

    fleet.assert_live(None)
    assert "nothing yet" in str(caught.value.live)


def test_a_flip_back_that_fails_needs_a_person(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    fleet.make("web3", "fail-probe-web", "probe-failed")
    fleet.make("web1", "fail-unflip", "failed")

    with pytest.raises(PartlyLiveError) as caught:
        fleet.release("two")

    assert caught.value.exit_code == 3
    assert caught.value.host == "web1"
    assert "web1" in str(caught.value.live)
    assert fleet.live["web2"] == fleet.live["web3"] == first.release
    assert fleet.live["web1"] != first.release
    assert fleet.last().state == State.PARTLY_LIVE
    fleet.mend("web1", "fail-unflip")
    fleet.mend("web3", "fail-probe-web")
    fleet.rollback()
    fleet.assert_live(first.release)


def test_a_host_that_goes_down_before_its_flip_is_no_riddle(fleet_of_three, monkeypatch):
    """It surely has the old release, the others are flipped back: nobody needs to look."""
    fleet = fleet_of_three
    first = fleet.release("one")
    from deployd.rollouts import golive

    flip = golive.fleet.flip

    def goes_down(*args):
        fleet.make("web3", "down")
        return flip(*args)

    monkeypatch.setattr(golive.fleet, "flip", goes_down)
    with pytest.raises(UnreachableError) as caught:
        fleet.release("two")

    assert caught.value.host == "web3"
    fleet.assert_live(first.release)
    assert fleet.last().state == State.FAILED


def test_a_host_that_goes_down_after_its_flip_needs_a_person(fleet_of_three, monkeypatch):
    fleet = fleet_of_three
    first = fleet.release("one")
    from deployd.rollouts import golive

    probe_web = golive.fleet.probe_web

    def goes_down(*args):
        fleet.make("web3", "down")
        return probe_web(*args)

    monkeypatch.setattr(golive.fleet, "probe_web", goes_down)
    with pytest.raises(PartlyLiveError) as caught:
        fleet.release("two")

    assert caught.value.host == "web3"
    assert fleet.live["web1"] == first.release
    assert fleet.told("rollout_finished")[-1]["hosts"][2]["state"] == "unknown"


def test_a_flip_back_is_tried_twice(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    fleet.make("web3", "fail-probe-web", "probe-failed")
    fleet.make("web1", "fail-unflip-once", "failed")

    with pytest.raises(HostError):
        fleet.release("two")

    fleet.assert_live(first.release)


def test_a_cancelled_release_changes_nothing(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    fleet.cancel.set()

    with pytest.raises(CancelledError) as caught:
        fleet.release("two")

    assert caught.value.exit_code == 130
    fleet.assert_live(first.release)
    assert fleet.last().state == State.CANCELLED


def test_a_bug_in_a_stage_turns_back_too(fleet_of_three, monkeypatch):
    fleet = fleet_of_three
    first = fleet.release("one")
    from deployd.rollouts import golive

    def broken(*_args):
        raise ZeroDivisionError

    monkeypatch.setattr(golive.fleet, "probe_web", broken)
    with pytest.raises(DeploydError) as caught:
        fleet.release("two")

    assert caught.value.code == "internal"
    fleet.assert_live(first.release)


@pytest.mark.parametrize("step", ["source", "ship", "flip"])
@pytest.mark.parametrize("moment", ["before", "done", "after"])
def test_a_fault_that_raises_is_turned_back(fleet_of_three, monkeypatch, step, moment):
    fleet = fleet_of_three
    first = fleet.release("one")
    monkeypatch.setenv(FAULT_VARIABLE, f"{moment}:{step}=fail")

    with pytest.raises(DeploydError) as caught:
        fleet.release("two")

    assert caught.value.code == "test-fault"
    fleet.assert_live(first.release)
