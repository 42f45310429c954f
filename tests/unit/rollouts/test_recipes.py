"""A release on three folder hosts: what is live afterwards, what is kept, and what is said when it cannot begin."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deployd.domain.ids import EnvironmentName
from deployd.domain.options import Keep, Options, Run
from deployd.domain.release import ReleaseState
from deployd.domain.secret import Secret
from deployd.errors import (
    BusyError,
    DeploydError,
    HostError,
    UnreachableError,
)
from deployd.rollouts import locks, look, making
from deployd.rollouts.states import State
from deployd.rollouts.testing import FolderHost, FolderPool


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


@pytest.mark.parametrize("how", ["ro", "noexec"])
def test_a_file_system_that_takes_no_release_is_told_before_anything_is_built(fleet_of_three, monkeypatch, how):
    fleet = fleet_of_three
    first = fleet.release("one")
    facts = FolderHost._facts
    mounted = lambda self, *args: {**facts(self, *args), "mounted": [how] if self.name == "web2" else []}  # noqa: E731
    monkeypatch.setattr(FolderHost, "_facts", mounted)

    with pytest.raises(HostError) as caught:
        fleet.release("two")

    assert (caught.value.code, caught.value.host) == ("host-mount-unfit", "web2")
    fleet.assert_live(first.release)
    assert "begin" not in fleet.calls("web1")[-2:]


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


def test_a_rollback_with_a_host_down_says_what_is_live_and_how_to_do_without_it(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    second = fleet.release("two")
    for name in ("web1", "web3"):
        fleet.make(name, "down")
        with pytest.raises(UnreachableError) as caught:
            fleet.rollback()
        fleet.mend(name, "down")
        others = [f"--host {other}" for other in ("web1", "web2", "web3") if other != name]
        assert caught.value.fix.endswith(f"to go back on the others meanwhile: deployd rollback {' '.join(others)}")
        assert caught.value.live.startswith(str(second.release))

    fleet.assert_live(second.release)
    fleet.rollback()
    fleet.assert_live(first.release)


def test_a_host_whose_current_is_no_link_makes_the_hosts_differ(fleet_of_three):
    fleet = fleet_of_three
    fleet.release("one")
    fleet.make("web3", "fail-status", "current-not-link")
    pool = FolderPool.below(fleet.folder / "hosts", fleet.store.hosts.all())
    found = look.status(fleet.store, pool, fleet.app, fleet.environment)

    assert (found.mixed, found.release) == (True, None)
    assert [one.state for one in found.hosts] == ["live", "live", "failed"]


def test_several_failures_are_all_named(fleet_of_three):
    fleet = fleet_of_three
    fleet.make("web1", "fail-start", "start-failed")
    fleet.make("web2", "fail-start", "start-failed")

    with pytest.raises(HostError) as caught:
        fleet.release("one")

    # the first failure stops the others, so the second host may have been stopped before it failed by itself
    other = {"web1": "web2", "web2": "web1"}[str(caught.value.host)]
    assert caught.value.details is None or other in caught.value.details


@pytest.mark.parametrize("fault", ["fail-prune", "fail-stop", "fail-status"], ids=["prune", "stop", "status"])
def test_tidying_that_fails_is_a_warning(fleet_of_three, fault):
    fleet = fleet_of_three
    for commit in ("one", "two", "three"):
        fleet.release(commit, options=Options(keep=Keep(releases=1, failed=0, skew_protection=0)))
    fleet.make("web1", fault, "busy")
    result = fleet.release("four", options=Options(keep=Keep(releases=1, failed=0, skew_protection=0)))

    fleet.assert_live(result.release)
    assert any(one["host"] == "web1" for one in fleet.told("warning"))


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


def test_what_was_built_elsewhere_keeps_the_server_action_key_of_its_build(fleet_of_three, monkeypatch):
    """Next.js takes the variable's key before that of the build; pages hold what was encrypted with the latter."""
    fleet = fleet_of_three
    staging, key = EnvironmentName.parse("staging"), "NEXT_SERVER_ACTIONS_ENCRYPTION_KEY"
    frozen = fleet.store.variables.of_release
    fleet.store.variables.put(fleet.app, staging, "ONLY_STAGING", Secret("s"), build=False, who="ada")
    first = fleet.release("one")
    promoted = fleet.promote(first.release, environment=staging)
    assert frozen(promoted.release)[key].reveal() == frozen(first.release)[key].reveal()
    again = fleet.promote(promoted.release, environment=EnvironmentName.parse("demo"))
    assert frozen(again.release)[key].reveal() == frozen(first.release)[key].reveal()

    # an artifact file says nothing of its key: none is set, and the one in it counts
    told = SimpleNamespace(node="22.22.3", build_id=None, framework="nextjs", lockfile_sha256=None)
    found = SimpleNamespace(name=fleet.store.releases.get(first.release).artifact, files=0, size=0)
    monkeypatch.setattr(making.package_stage, "import_", lambda *_, **__: (found, told), raising=False)
    taken = fleet.release("one", artifact_file="/a")
    assert key not in frozen(taken.release)
    promoted = fleet.promote(taken.release, environment=staging)
    assert key not in frozen(promoted.release)
    assert "ONLY_STAGING" in frozen(promoted.release)


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
