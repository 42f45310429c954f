"""Releases that wait for a person's word, in processes that are killed: the way back is never lost, a yes is one flip."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from deployd.domain.schedule import way_back_id
from deployd.errors import BusyError, DeploydError
from deployd.rollouts import consent, steps, timing
from deployd.rollouts.states import State
from tests.faults.fleets import APP, HOSTS, KILLED, PRODUCTION, release_of

AFTER = steps.RELEASE[steps.RELEASE.index(steps.Step.FLIP) :]
ACTIVATE = (steps.Step.CHOOSE, steps.Step.PREPARE, *AFTER)


def kept(fleet):
    client = fleet.client()
    store = client.store
    found = {
        "rollout": store.rollouts.latest(APP, PRODUCTION)[0],
        "ways": [one for one in store.schedules.latest(APP, PRODUCTION) if one.purpose == "unconfirmed"],
        "approvals": store.approvals.latest(APP, PRODUCTION),
    }
    client.close()
    return found


def test_a_release_that_nobody_confirmed_has_a_way_back_to_what_was_live(released):
    fleet, old = released
    before = datetime.now(UTC)
    code, told = fleet.run("release", "--commit", "two", "--confirm-within", "600")
    assert code == 0
    (way,) = kept(fleet)["ways"]
    assert (way.release, way.state, way.kind) == (old, "active", "rollback")
    assert way.wish["release"] == old
    assert sorted(way.wish["hosts"]) == sorted(HOSTS)
    until = datetime.fromisoformat(way.next_at)
    assert timedelta(seconds=599) < until - before < timedelta(seconds=630)
    assert [event["until"] for event in told["events"] if event["event"] == "confirmation_wanted"] == [way.next_at]


@pytest.mark.parametrize("point", steps.checkpoints((steps.Step.ARM, steps.Step.FLIP, steps.Step.RECORD)))
def test_killed_around_the_flip_the_way_back_is_there_whenever_a_host_may_be_new(released, point):
    fleet, old = released
    code, _ = fleet.run("release", "--commit", "two", "--confirm-within", "600", fault=f"{point}=kill")
    assert code == KILLED
    ways = kept(fleet)["ways"]
    if set(fleet.live.values()) != {old}:
        assert [(way.release, way.state) for way in ways] == [(old, "active")]
    code, _ = fleet.run("resume")
    assert code == 0
    new = release_of(fleet)
    fleet.assert_one_live(new)
    (way,) = kept(fleet)["ways"]
    assert (way.release, way.state, way.rollout) == (old, "active", kept(fleet)["rollout"].id)
    assert way.id == way_back_id(way.rollout)


@pytest.mark.parametrize("point", ["after:arm", "done:flip", "after:flip", "after:probe"])
def test_a_release_that_is_turned_back_leaves_no_way_back(released, point):
    fleet, old = released
    code, _ = fleet.run("release", "--commit", "two", "--confirm-within", "600", fault=f"{point}=fail")
    assert code == 1
    fleet.assert_one_live(old)
    assert [way.state for way in kept(fleet)["ways"]] == ["cancelled"]


def test_confirmed_it_stays_and_cannot_be_confirmed_twice(released):
    fleet, _old = released
    assert fleet.run("release", "--commit", "two", "--confirm-within", "600")[0] == 0
    client = fleet.client()
    found = timing.confirm(client.store, None, APP, PRODUCTION, who="bob")
    assert (found.state, found.ended_by, found.next_at) == ("confirmed", "bob", None)
    with pytest.raises(DeploydError) as error:
        timing.confirm(client.store, None, APP, PRODUCTION, who="bob")
    assert error.value.code == "nothing-unconfirmed"
    assert client.store.schedules.unconfirmed(APP, PRODUCTION) is None
    client.close()


def test_a_way_back_that_has_begun_cannot_be_confirmed(released):
    fleet, _old = released
    assert fleet.run("release", "--commit", "two", "--confirm-within", "600")[0] == 0
    client = fleet.client()
    (way,) = kept(fleet)["ways"]
    assert client.store.schedules.begin(way.id, datetime.fromisoformat(way.next_at))
    with pytest.raises(BusyError) as error:
        timing.confirm(client.store, None, APP, PRODUCTION, who="bob")
    assert error.value.code == "schedule-begun"
    client.close()


def test_what_goes_live_later_ends_the_way_back(released):
    fleet, _old = released
    assert fleet.run("release", "--commit", "two", "--confirm-within", "600")[0] == 0
    assert fleet.run("release", "--commit", "three")[0] == 0
    assert [way.state for way in kept(fleet)["ways"]] == ["cancelled"]


def test_the_first_release_has_no_way_back_and_is_refused_before_the_flip(fleet):
    code, told = fleet.run("release", "--commit", "one", "--confirm-within", "600")
    assert (code, told["error"]["code"]) == (1, "confirm-nowhere")
    fleet.assert_one_live(None)


def test_why_a_way_back_is_not_taken(released):
    fleet, _old = released
    assert fleet.run("release", "--commit", "two", "--confirm-within", "600")[0] == 0
    (way,) = kept(fleet)["ways"]
    client = fleet.client()
    assert timing.why_not_back(client.store, way) is None
    assert fleet.run("rollback")[0] == 0
    assert "is live since" in timing.why_not_back(client.store, way)
    client.close()


def test_an_approval_ends_the_rollout_waiting_and_holds_no_lock(released):
    fleet, old = released
    code, told = fleet.run("release", "--commit", "two", "--approval", "any")
    assert (code, told["result"]["outcome"]) == (0, "waiting")
    assert {host["state"] for host in told["result"]["hosts"]} == {"prepared"}
    fleet.assert_one_live(old)
    found = kept(fleet)
    assert (found["rollout"].state, found["rollout"].outcome) == (State.PREPARED, "waiting")
    (approval,) = found["approvals"]
    assert (approval.state, approval.release, approval.asked_by) == ("pending", found["rollout"].release, "ada")
    assert fleet.run("release", "--commit", "three")[0] == 0  # nobody holds the app meanwhile


def test_approved_it_is_live_and_who_said_so_is_kept(released):
    fleet, _old = released
    assert fleet.run("release", "--commit", "two", "--approval", "any")[0] == 0
    prepared = release_of(fleet)
    code, told = fleet.run("approve", "--who", "bob")
    assert (code, told["result"]["outcome"], told["result"]["release"]) == (0, "live", prepared)
    fleet.assert_one_live(prepared)
    (approval,) = kept(fleet)["approvals"]
    assert (approval.state, approval.decided_by) == ("approved", "bob")
    assert approval.activation == kept(fleet)["rollout"].id
    assert kept(fleet)["rollout"].kind == "activate"
    code, told = fleet.run("approve", "--who", "bob")
    assert (code, told["error"]["code"]) == (2, "nothing-waits")


@pytest.mark.parametrize("point", steps.checkpoints(ACTIVATE))
def test_killed_while_the_approved_release_goes_live_it_is_resumed(released, point):
    fleet, _old = released
    assert fleet.run("release", "--commit", "two", "--approval", "any")[0] == 0
    prepared = release_of(fleet)
    code, _ = fleet.run("approve", "--who", "bob", fault=f"{point}=kill")
    assert code == KILLED
    fleet.assert_complete()
    assert fleet.run("resume")[0] == 0
    fleet.assert_one_live(prepared)
    fleet.assert_settled()


@pytest.mark.parametrize("point", ["before:choose", "after:prepare", "done:flip", "before:record"])
def test_an_approved_release_that_fails_changes_nothing(released, point):
    fleet, old = released
    assert fleet.run("release", "--commit", "two", "--approval", "any")[0] == 0
    code, _ = fleet.run("approve", "--who", "bob", fault=f"{point}=fail")
    assert code == 1 or point == "before:record"
    fleet.assert_settled()
    if point != "before:record":
        fleet.assert_one_live(old)


def test_said_yes_and_killed_before_the_rollout_was_there_it_can_be_said_again(released):
    fleet, _old = released
    assert fleet.run("release", "--commit", "two", "--approval", "any")[0] == 0
    client = fleet.client()
    approval = consent.find(client.store, None, APP, PRODUCTION)
    consent.approve(client.store, approval, who="bob")  # and killed here
    again = client.store.approvals.get(approval.rollout)
    assert (again.state, again.activation) == ("approved", None)
    assert consent.approve(client.store, again, who="bob").release == approval.release
    client.close()


def test_whoever_asked_may_not_approve_when_another_must(released):
    fleet, old = released
    assert fleet.run("release", "--commit", "two", "--approval", "other", "--who", "ada")[0] == 0
    code, told = fleet.run("approve", "--who", "ada")
    assert (code, told["error"]["code"]) == (5, "approval-own")
    fleet.assert_one_live(old)
    assert fleet.run("approve", "--who", "bob")[0] == 0
    fleet.assert_one_live(release_of(fleet))


def test_a_newer_release_takes_the_place_of_one_that_waits(released):
    fleet, _old = released
    assert fleet.run("release", "--commit", "two", "--approval", "any")[0] == 0
    assert fleet.run("release", "--commit", "three", "--approval", "any")[0] == 0
    newest = release_of(fleet)
    assert [one.state for one in kept(fleet)["approvals"]] == ["pending", "superseded"]
    assert fleet.run("approve", "--who", "bob")[0] == 0
    fleet.assert_one_live(newest)


def test_what_goes_live_later_supersedes_what_waits(released):
    fleet, _old = released
    assert fleet.run("release", "--commit", "two", "--approval", "any")[0] == 0
    assert fleet.run("release", "--commit", "three")[0] == 0
    (approval,) = kept(fleet)["approvals"]
    assert (approval.state, approval.reason.split()[-2:]) == ("superseded", ["went", "live"])
    assert fleet.run("approve")[1]["error"]["code"] == "nothing-waits"


def test_too_late_and_rejected_are_told(released):
    fleet, _old = released
    assert fleet.run("release", "--commit", "two", "--approval", "any", "--approval-timeout", "0.2")[0] == 0
    time.sleep(0.3)
    client = fleet.client()
    (approval,) = client.store.approvals.latest(APP, PRODUCTION)
    assert approval.state == "expired"
    with pytest.raises(DeploydError, match="its time was over"):
        consent.approve(client.store, approval, who="bob")
    assert [one.rollout for one in client.store.approvals.expire()] == [approval.rollout]
    assert client.store.approvals.expire() == ()
    assert fleet.run("release", "--commit", "three", "--approval", "any")[0] == 0
    waiting = consent.find(client.store, None, APP, PRODUCTION)
    consent.reject(client.store, waiting, who="eve", reason="no")
    with pytest.raises(DeploydError, match="eve rejected it"):
        consent.approve(client.store, client.store.approvals.get(waiting.rollout), who="bob")
    client.close()


def test_a_frozen_environment_takes_no_release_and_every_rollback(released):
    fleet, old = released
    assert fleet.run("release", "--commit", "two")[0] == 0
    client = fleet.client()
    timing.freeze(client.store, APP, PRODUCTION, who="eve", timezone="UTC", within=3600, reason="the holidays")
    code, told = fleet.run("release", "--commit", "three")
    assert (code, told["error"]["code"]) == (5, "frozen")
    assert "by eve (the holidays)" in told["error"]["what"]
    assert fleet.run("rollback")[0] == 0
    fleet.assert_one_live(old)
    client.close()


def test_a_frozen_environment_takes_no_approval(released):
    fleet, old = released
    assert fleet.run("release", "--commit", "two", "--approval", "any")[0] == 0
    client = fleet.client()
    timing.freeze(client.store, APP, PRODUCTION, who="eve", timezone="UTC", within=3600)
    code, told = fleet.run("approve", "--who", "bob")
    assert (code, told["error"]["code"]) == (5, "frozen")
    assert client.store.approvals.latest(APP, PRODUCTION)[0].state == "pending"  # it can be approved afterwards
    client.store.freezes.end(APP, PRODUCTION, who="eve")
    assert fleet.run("approve", "--who", "bob")[0] == 0
    assert set(fleet.live.values()) != {old}
    client.close()


def test_with_both_the_way_back_counts_from_the_yes(released):
    fleet, old = released
    assert fleet.run("release", "--commit", "two", "--approval", "any", "--confirm-within", "600")[0] == 0
    assert kept(fleet)["ways"] == []
    assert fleet.run("approve", "--who", "bob")[0] == 0
    (way,) = kept(fleet)["ways"]
    assert (way.release, way.state, way.rollout) == (old, "active", kept(fleet)["rollout"].id)
