"""`bake`: a live release stays when visitors are as well off as before, and goes back by itself when they are not."""

from __future__ import annotations

import json
import threading
import time

import pytest

from deployd.domain.ids import ReleaseId
from deployd.domain.options import Options, Waves
from deployd.domain.release import Mark, ReleaseState
from deployd.errors import CancelledError, DeploydError
from deployd.rollouts import baking, look, story
from deployd.rollouts.states import State

QUICK = Options(waves=Waves(bake=0.5))
WAVES = Options(waves=Waves(bake=0.5, strategy="canary", pause=0.01))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(baking, "_SETTLES", 0.0)


def row(release: str, count: int, errors: int, route: str = "/checkout", bucket: int = 60) -> list[list]:
    """What a host's helper counts."""
    return [
        [release, route, 2, count - errors, 0, 1.0, {bucket: count - errors}],
        [release, route, 5, errors, 0, 1.0, {bucket: errors}],
    ]


def answer(fleet, name: str, *rows: list[list]) -> None:
    fleet.make(name, "traffic", json.dumps([one for some in rows for one in some]))


def release_when_known(fleet, commit: str, rows, options: Options = QUICK) -> object:
    """Release; as soon as its id is known, hosts answer `rows(id)`."""

    def begin(told: dict) -> None:
        for name in fleet.names:
            answer(fleet, name, *rows(told["release"]))

    fleet.upon["release_started"] = begin
    try:
        return fleet.release(commit, options=options)
    finally:
        del fleet.upon["release_started"]


def test_a_release_with_errors_goes_back_and_says_why_with_numbers(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")

    with pytest.raises(DeploydError) as caught:
        release_when_known(
            fleet, "two", lambda made: [row(first.release, 2210, 2), row(made, 812, 33), row(made, 400, 0, "/")]
        )

    fleet.assert_live(first.release)
    error = caught.value
    assert (error.code, error.exit_code) == ("bake-failed", 1)
    assert "5xx 4.1 % of 2,436 requests against 0.1 % of 6,630 before, route /checkout" in error.what
    record = fleet.last()
    assert record.state == State.FAILED
    left = fleet.store.releases.get(ReleaseId(record.release))
    assert (left.mark, left.state) == (Mark.BAD, ReleaseState.FAILED)
    assert fleet.told("rollout_finished")[-1]["outcome"] == "failed"
    assert [one["outcome"] for one in fleet.told("bake_looked")] == ["worse"]
    assert [one for one, _ in fleet.store.live_log.of(fleet.app, fleet.environment)] == [first.release]


def test_one_that_is_as_good_stays(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    result = release_when_known(fleet, "two", lambda made: [row(first.release, 500, 5), row(made, 500, 6)])
    fleet.assert_live(result.release)
    last = fleet.told("bake_looked")[-1]
    assert (last["outcome"], last["requests"], last["seconds_left"]) == ("fine", 1500, 0)
    assert not fleet.told("warning")


def test_without_traffic_it_stays_and_says_so(fleet_of_three):
    fleet = fleet_of_three
    fleet.release("one")
    result = fleet.release("two", options=QUICK)
    fleet.assert_live(result.release)
    assert "too little traffic to judge" in fleet.told("warning")[-1]["what"]


def test_the_first_release_has_nothing_to_be_compared_with(fleet_of_three):
    fleet = fleet_of_three
    result = fleet.release("one", options=QUICK)
    fleet.assert_live(result.release)
    assert not fleet.told("bake_looked")


def test_what_visitors_of_other_releases_meet_does_not_count(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    other = "20261121-101732-5fa9c01-n4z9"
    result = release_when_known(
        fleet, "two", lambda made: [row(first.release, 500, 0), row(made, 500, 0), row(other, 500, 500)]
    )
    fleet.assert_live(result.release)


def test_hosts_that_cannot_be_asked_are_told_and_the_others_watched(fleet_of_three, monkeypatch):
    monkeypatch.setattr(baking, "_PATIENCE", 0.0)
    fleet = fleet_of_three
    first = fleet.release("one")
    fleet.make("web1", "fail-traffic", "bad-request")

    def rows(made: str) -> list[list[list]]:
        return [row(first.release, 500, 0), row(made, 500, 400)]

    with pytest.raises(DeploydError) as caught:
        release_when_known(fleet, "two", rows)
    assert "80.0 % of 1,000 requests" in caught.value.what
    fleet.assert_live(first.release)
    (warning,) = [one for one in fleet.told("warning") if one.get("host") == "web1"]
    assert "host bootstrap" in warning["fix"]


def test_cancelled_while_it_bakes_it_is_turned_back(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")

    def cancel() -> None:
        while not fleet.told("bake_looked"):
            time.sleep(0.01)
        fleet.cancel.set()

    threading.Thread(target=cancel, daemon=True).start()
    with pytest.raises(CancelledError):
        fleet.release("two", options=Options(waves=Waves(bake=600)))
    fleet.assert_live(first.release)
    assert fleet.store.releases.get(ReleaseId(fleet.last().release)).mark is None


def test_the_first_wave_is_watched_before_the_next_goes(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    with pytest.raises(DeploydError) as caught:
        release_when_known(fleet, "two", lambda made: [row(first.release, 500, 0), row(made, 500, 400)], WAVES)
    assert caught.value.code == "bake-failed"
    assert "80.0 % of 500 requests" in caught.value.what
    fleet.assert_live(first.release)
    assert [fleet.calls(name).count("flip") for name in fleet.names] == [2, 1, 1]  # the other hosts never had it
    (looked,) = fleet.told("bake_looked")
    assert (looked["hosts"], looked["waits"]) == (["web1"], 2)


def test_a_good_release_is_watched_twice_on_its_way_through_the_waves(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    result = release_when_known(fleet, "two", lambda made: [row(first.release, 500, 5), row(made, 500, 6)], WAVES)
    fleet.assert_live(result.release)
    looked = fleet.told("bake_looked")
    assert [(one["hosts"], one["waits"]) for one in (looked[0], looked[-1])] == [(["web1"], 2), (list(fleet.names), 0)]


def test_what_the_release_before_suffers_at_the_same_time_is_no_fault_of_the_new_one(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    for name in ("web2", "web3"):
        fleet.make(name, "traffic-now", json.dumps(row(first.release, 500, 380)))
    with pytest.raises(DeploydError):  # the last bake has nothing beside it, and decides by what was before
        release_when_known(fleet, "two", lambda made: [row(first.release, 500, 0), row(made, 500, 400)], WAVES)
    one_host = [one for one in fleet.told("bake_looked") if one["waits"]]
    assert {one["outcome"] for one in one_host} == {"fine"}
    assert "so it is with the release before: 5xx 76.0 %" in one_host[-1]["what"]


def baking_in_the_background(fleet) -> threading.Thread:
    """A release that bakes on the first of three hosts for ten minutes."""
    from contextlib import suppress

    options = Options(waves=Waves(bake=600, strategy="canary"))

    def run() -> None:
        with suppress(DeploydError):
            fleet.release("three", options=options)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while not fleet.told("bake_looked"):
        time.sleep(0.01)
    return thread


def test_the_status_says_that_it_bakes_and_for_how_long_still(fleet_of_three):
    fleet = fleet_of_three
    fleet.release("one")
    thread = baking_in_the_background(fleet)
    with fleet.workshop.pool_of(fleet.names) as pool:
        found = look.status(fleet.store, pool, fleet.app, fleet.environment).rollout
    listed = story.as_seen(fleet.store, fleet.last()).state
    fleet.cancel.set()
    thread.join()
    assert listed == "baking"
    assert story.as_seen(fleet.store, fleet.last()) == fleet.last()
    assert (found["state"], found["watched"], found["waiting"], found["alive"]) == ("baking", ["web1"], 2, True)
    assert 590 < found["seconds_left"] <= 601
    assert fleet.last().state == State.CANCELLED


def test_a_rollback_during_a_bake_goes_to_what_was_before_it(fleet_of_three):
    fleet = fleet_of_three
    fleet.release("one")
    second = fleet.release("two")
    thread = baking_in_the_background(fleet)
    stopped = fleet.last().release
    result = fleet.rollback()
    thread.join()
    fleet.assert_live(second.release)
    assert (result.release, result.previous) == (second.release, stopped)
    assert fleet.store.releases.get(ReleaseId(stopped)).mark is Mark.BAD
    assert fleet.store.pins.get(fleet.app, fleet.environment).automatic
