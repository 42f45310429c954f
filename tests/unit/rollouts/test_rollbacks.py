"""Rollbacks on three folder hosts: where they go, what they leave alone, and what is said of it."""

from __future__ import annotations

import threading

import pytest

from deployd.domain.ids import ReleaseId
from deployd.domain.options import Approval, Options
from deployd.domain.release import Mark, ReleaseState
from deployd.errors import (
    DeploydError,
    HostError,
    NotAllowedError,
    NotFoundError,
)


def test_a_rollback_goes_to_the_last_good_release_and_says_what_it_left(fleet_of_three):
    fleet = fleet_of_three
    first, second = fleet.release("one"), fleet.release("two")
    result = fleet.rollback()

    fleet.assert_live(first.release)
    assert (result.outcome, result.release, result.previous) == ("live", first.release, second.release)
    assert fleet.store.releases.get(second.release).mark is Mark.BAD
    pin = fleet.store.pins.get(fleet.app, fleet.environment)
    assert pin is not None
    assert pin.automatic
    assert fleet.store.releases.get(first.release).state is ReleaseState.LIVE


def test_a_second_rollback_goes_further_back_and_skips_what_is_bad(fleet_of_three):
    fleet = fleet_of_three
    first, _second, _third = fleet.release("one"), fleet.release("two"), fleet.release("three")
    fleet.rollback()
    fleet.rollback()

    fleet.assert_live(first.release)
    with pytest.raises(NotFoundError) as caught:
        fleet.rollback()
    assert caught.value.code == "rollback-nowhere"
    assert caught.value.exit_code == 2
    fleet.assert_live(first.release)


def test_the_next_release_ends_the_pause(fleet_of_three):
    fleet = fleet_of_three
    fleet.release("one")
    fleet.release("two")
    fleet.rollback()
    fleet.release("three")

    assert fleet.store.pins.get(fleet.app, fleet.environment) is None


def test_a_rollback_touches_no_host_when_one_lacks_the_release(fleet_of_three):
    fleet = fleet_of_three
    first, second = fleet.release("one"), fleet.release("two")
    with fleet.host("web2")._state() as state:
        del state["releases"][first.release]
    before = {name: len(fleet.calls(name)) for name in fleet.names}

    with pytest.raises(NotFoundError) as caught:
        fleet.rollback()

    assert (caught.value.code, caught.value.host) == ("release-not-on-host", "web2")
    fleet.assert_live(second.release)
    for name in fleet.names:
        assert set(fleet.calls(name)[before[name] :]) <= {"status", "holder"}
    assert fleet.store.pins.get(fleet.app, fleet.environment) is None


def test_a_rollback_to_what_is_live_changes_nothing(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    result = fleet.rollback(first.release)

    assert (result.outcome, result.flip_s) == ("live", None)
    assert fleet.store.pins.get(fleet.app, fleet.environment) is None


def test_a_cold_release_is_started_and_probed_before_the_flip(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    for commit in ("two", "three"):
        fleet.release(commit)
    with fleet.host("web1")._state() as state:
        assert not state["releases"][first.release]["running"]
    fleet.rollback(first.release)

    fleet.assert_live(first.release)
    calls = fleet.calls("web1")
    assert calls.index("probe", len(calls) - 6) < len(calls) - 1 - calls[::-1].index("flip")


def test_a_rollback_whose_release_is_not_healthy_leaves_what_is_live(fleet_of_three):
    fleet = fleet_of_three
    fleet.release("one")
    second = fleet.release("two")
    fleet.make("web3", "fail-probe", "probe-failed")

    with pytest.raises(HostError) as caught:
        fleet.rollback()

    fleet.assert_live(second.release)
    assert caught.value.host == "web3"
    assert fleet.store.releases.get(second.release).mark is None


def test_a_rollback_probes_with_the_path_that_the_release_had(fleet_of_three, monkeypatch):
    """A probe path that came with the new release does not exist in the old one."""
    from deployd.domain.options import Probe

    fleet = fleet_of_three
    seen = []
    monkeypatch.setattr(
        "deployd.hosts.verbs.probe_document", lambda wanted: seen.append(wanted.path) or {"path": wanted.path}
    )
    fleet.release("one", options=Options(probe=Probe(path="/old")))
    fleet.release("two", options=Options(probe=Probe(path="/new")))
    seen.clear()
    fleet.rollback()

    assert set(seen) == {"/old"}


def test_a_rollback_to_a_release_that_does_not_exist(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")

    with pytest.raises(NotFoundError):
        fleet.rollback(ReleaseId.parse("20200101-000000-0000000-aaaa"))

    fleet.assert_live(first.release)


def test_hosts_that_differ_are_brought_together(fleet_of_three):
    fleet = fleet_of_three
    first, second = fleet.release("one"), fleet.release("two")
    fleet.host("web1")._point(first.release)
    result = fleet.rollback()

    fleet.assert_live(first.release)
    assert fleet.store.releases.get(second.release).mark is Mark.BAD
    assert result.previous is None


def test_two_rollbacks_at_once_are_one_after_the_other(fleet_of_three):
    fleet = fleet_of_three
    for commit in ("one", "two", "three"):
        fleet.release(commit)
    outcomes = []

    def go():
        try:
            outcomes.append(fleet.rollback().outcome)
        except DeploydError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(fleet.live.values())) == 1
    assert "live" in outcomes


@pytest.mark.parametrize("activate", [True, False])
def test_a_rollback_is_no_way_around_an_approval(fleet_of_three, activate):
    """Neither to what waits for a yes, nor to what was only prepared where one is wanted; to what was live it is."""
    fleet = fleet_of_three
    wanted = Options(approval=Approval(mode="any"))
    first = fleet.release("one")
    waits = fleet.release("two", options=wanted, activate=activate)
    assert waits.outcome == ("waiting" if activate else "prepared")
    with pytest.raises(NotAllowedError) as caught:
        fleet.rollback(waits.release)
    assert caught.value.code == "approval-needed"
    fleet.assert_live(first.release)

    third = fleet.release("three")
    fleet.rollback(first.release)
    fleet.rollback(third.release)
    fleet.assert_live(third.release)
