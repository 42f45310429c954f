"""The recipes on three folder hosts: what is live after each way in which a rollout can end, and what is said of it."""

from __future__ import annotations

import threading

import pytest

from deployd.domain.ids import EnvironmentName, ReleaseId
from deployd.domain.options import Keep, Options, Run, Waves
from deployd.domain.release import Mark, ReleaseState
from deployd.domain.secret import Secret
from deployd.errors import (
    BusyError,
    CancelledError,
    DeploydError,
    HostError,
    NotFoundError,
    PartlyLiveError,
    UnreachableError,
)
from deployd.rollouts import locks
from deployd.rollouts.states import State
from deployd.rollouts.steps import FAULT_VARIABLE


def test_a_release_is_live_on_all_hosts_and_known_as_such(fleet_of_three):
    fleet = fleet_of_three
    result = fleet.release("one")

    fleet.assert_live(result.release)
    assert (result.outcome, result.previous) == ("live", None)
    assert fleet.store.releases.get(result.release).state is ReleaseState.LIVE
    assert fleet.last().state == State.LIVE
    assert fleet.told("rollout_finished")[-1]["outcome"] == "live"
    assert [one.event for one in fleet.store.events.of(result.rollout)][-1] == "rollout_finished"


def test_the_second_release_keeps_the_first_warm_and_reuses_nothing_of_its_state(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    second = fleet.release("two")

    assert second.previous == first.release
    with fleet.host("web1")._state() as state:
        assert state["releases"][first.release]["running"]
    third = fleet.release("three")
    with fleet.host("web1")._state() as state:
        running = {name for name, one in state["releases"].items() if one["running"]}
    assert running == {second.release, third.release}
    fleet.assert_live(third.release)


def test_with_warm_zero_the_old_release_is_stopped_at_once(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    fleet.release("two", options=Options(run=Run(warm=0.0)))

    with fleet.host("web1")._state() as state:
        assert not state["releases"][first.release]["running"]


def test_the_same_tree_is_not_built_again(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    second = fleet.release("one")

    assert fleet.told("build_reused")[0]["release"] == first.release
    assert fleet.store.releases.get(second.release).artifact == fleet.store.releases.get(first.release).artifact
    fleet.release("one", use_cache=False)
    assert len(fleet.told("build_reused")) == 1


def test_no_activate_leaves_it_prepared(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    result = fleet.release("two", activate=False)

    fleet.assert_live(first.release)
    assert result.outcome == "prepared"
    assert fleet.store.releases.get(result.release).state is ReleaseState.PREPARED
    assert fleet.last().state == State.PREPARED


@pytest.mark.parametrize("verb", ["begin", "seal", "env", "start", "probe"])
def test_a_failure_while_preparing_changes_nothing_and_leaves_nothing(fleet_of_three, verb):
    fleet = fleet_of_three
    first = fleet.release("one")
    fleet.make("web2", f"fail-{verb}", "disk-full")

    with pytest.raises(HostError) as caught:
        fleet.release("two")

    fleet.assert_live(first.release)
    error = caught.value
    assert (error.code, error.host, error.exit_code) == ("disk-full", "web2", 1)
    assert first.release in str(error.live)
    assert "flip" not in fleet.calls("web1")[-6:]
    assert "discard" in fleet.calls("web1")
    assert fleet.last().state == State.FAILED
    assert fleet.store.releases.of(fleet.app, fleet.environment)[0].state is ReleaseState.FAILED


def test_a_host_that_refuses_the_configuration_is_told_before_anything_is_built(fleet_of_three):
    """A domain that another app has there, for example."""
    fleet = fleet_of_three
    first = fleet.release("one")
    fleet.make("web2", "fail-configure", "domain-taken")

    with pytest.raises(HostError) as caught:
        fleet.release("two")

    fleet.assert_live(first.release)
    assert (caught.value.code, caught.value.host) == ("domain-taken", "web2")
    assert len(fleet.store.releases.of(fleet.app, fleet.environment)) == 1
    assert fleet.calls("web1")[-2:] == ["facts", "configure"]


def test_a_host_that_is_down_is_told_before_anything_is_built(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    fleet.make("web3", "down")

    with pytest.raises(UnreachableError) as caught:
        fleet.release("two")

    assert caught.value.exit_code == 6
    assert fleet.last().release is None
    fleet.mend("web3", "down")
    fleet.assert_live(first.release)


def test_several_failures_are_all_named(fleet_of_three):
    fleet = fleet_of_three
    fleet.make("web1", "fail-start", "start-failed")
    fleet.make("web2", "fail-start", "start-failed")

    with pytest.raises(HostError) as caught:
        fleet.release("one")

    # the first failure stops the others, so the second host may have been stopped before it failed by itself
    other = {"web1": "web2", "web2": "web1"}[str(caught.value.host)]
    assert caught.value.details is None or other in caught.value.details


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


@pytest.mark.parametrize("fault", ["fail-prune", "fail-stop", "fail-status"], ids=["prune", "stop", "status"])
def test_tidying_that_fails_is_a_warning(fleet_of_three, fault):
    fleet = fleet_of_three
    for commit in ("one", "two", "three"):
        fleet.release(commit, options=Options(keep=Keep(releases=1, failed=0, skew_protection=0)))
    fleet.make("web1", fault, "busy")
    result = fleet.release("four", options=Options(keep=Keep(releases=1, failed=0, skew_protection=0)))

    fleet.assert_live(result.release)
    assert any(one["host"] == "web1" for one in fleet.told("warning"))


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


def test_the_variables_of_the_moment_go_with_a_release(fleet_of_three):
    fleet = fleet_of_three
    fleet.store.variables.put(fleet.app, fleet.environment, "TOKEN", Secret("canary-1"), build=False, who="ada")
    fleet.store.variables.put(fleet.app, fleet.environment, "NEXT_PUBLIC_X", Secret("x"), build=True, who="ada")
    result = fleet.release("one")

    assert set(fleet.store.variables.of_release(result.release)) == {"TOKEN", "NEXT_SERVER_ACTIONS_ENCRYPTION_KEY"}
    with fleet.host("web1")._state() as state:
        assert state["releases"][result.release]["variables"] == ["NEXT_SERVER_ACTIONS_ENCRYPTION_KEY", "TOKEN"]


def test_a_secret_in_an_error_is_blotted_out_everywhere(fleet_of_three, monkeypatch):
    fleet = fleet_of_three
    fleet.store.variables.put(fleet.app, fleet.environment, "TOKEN", Secret("canary-secret"), build=False, who="ada")

    def failing(*_args, **_kwargs):
        raise DeploydError("the build said canary-secret", details="TOKEN=canary-secret", fix="x")

    from deployd.rollouts import making

    monkeypatch.setattr(making.build_stage, "build", failing)
    with pytest.raises(DeploydError) as caught:
        fleet.release("one")

    assert "canary-secret" not in f"{caught.value.what} {caught.value.details} {fleet.events} {fleet.last()}"
    assert "***" in caught.value.what


def test_promote_takes_the_artifact_and_the_other_environments_variables(fleet_of_three):
    fleet = fleet_of_three
    staging = EnvironmentName.parse("staging")
    fleet.store.variables.put(fleet.app, staging, "ONLY_STAGING", Secret("s"), build=False, who="ada")
    first = fleet.release("one")
    result = fleet.promote(first.release, environment=staging)

    made = fleet.store.releases.get(result.release)
    assert made.artifact == fleet.store.releases.get(first.release).artifact
    assert made.commit == fleet.store.releases.get(first.release).commit
    assert "ONLY_STAGING" in fleet.store.variables.of_release(made.id)


def test_a_second_rollout_of_the_app_is_told_who_runs(fleet_of_three):
    fleet = fleet_of_three
    with locks.folder_lock(fleet.paths) as lock:
        assert lock.take(locks.held_by(who="bob", command="deployd release (shop production)"))
        with pytest.raises(BusyError) as caught:
            fleet.release("one")

    assert caught.value.exit_code == 4
    assert "bob" in caught.value.what


def test_a_host_lock_that_another_machine_holds_ends_with_4(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    held = fleet.host("web2").open(("hold", "shop", "production"))

    with pytest.raises(DeploydError) as caught:
        fleet.release("two")

    held.close()
    assert (caught.value.exit_code, caught.value.host) == (4, "web2")
    fleet.assert_live(first.release)


# rollback


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


# what a dead process left


def kill(fleet, commit, point, monkeypatch):
    """As a SIGKILL: the recipe is left by an exception that nothing in it catches."""

    class KilledError(BaseException):
        pass

    def die(moment, name):
        if f"{moment}:{name}" == point:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("deployd.rollouts.runner.checkpoint", die)
        with pytest.raises(KilledError):
            fleet.release(commit)
    fleet.store.rollouts.set_owner(fleet.last().id, "1:1:gone")


def test_resume_leaves_a_rollout_whose_process_lives(fleet_of_three, monkeypatch):
    fleet = fleet_of_three
    kill(fleet, "one", "before:ship", monkeypatch)
    fleet.store.rollouts.set_owner(fleet.last().id, locks.name_of(1))

    assert fleet.resume() == []
    assert fleet.last().state == State.PREPARING


def test_resume_leaves_a_rollout_that_another_thread_of_this_process_runs(fleet_of_three, monkeypatch):
    fleet = fleet_of_three
    kill(fleet, "one", "before:ship", monkeypatch)
    fleet.store.rollouts.set_owner(fleet.last().id, locks.own_name())
    fleet.workshop.begin(fleet.last().id)

    assert fleet.resume() == []

    fleet.workshop.end(fleet.last().id)
    assert [result.outcome for result in fleet.resume()] == ["live"]


def test_resume_settles_a_rollout_whose_host_is_unknown_by_now(fleet_of_three, monkeypatch):
    fleet = fleet_of_three
    kill(fleet, "one", "before:ship", monkeypatch)
    fleet.store.hosts.remove(fleet.names[0])

    assert [result.outcome for result in fleet.resume()] == ["failed"]


def test_events_go_on_counting_after_a_resume(fleet_of_three, monkeypatch):
    fleet = fleet_of_three
    kill(fleet, "one", "done:ship", monkeypatch)
    [result] = fleet.resume()

    numbers = [one.seq for one in fleet.store.events.of(result.rollout)]
    assert numbers == sorted(set(numbers))
    assert fleet.told("rollout_started")[-1]["resumed"] is True


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
