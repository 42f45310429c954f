"""`[rollout] before`: once, on the first host, before any start; what fails there leaves what is live as it is."""

from __future__ import annotations

import pytest

from deployd.domain.options import Approval, Options, Waves
from deployd.domain.secret import Secret
from deployd.errors import HostError
from deployd.rollouts import perform
from deployd.rollouts.wishes import RollbackWish

OPTIONS = Options(waves=Waves(before="prisma migrate deploy"))


def test_it_runs_once_on_the_first_host_before_any_start(fleet_of_three):
    fleet = fleet_of_three
    result = fleet.release("one", options=OPTIONS)

    fleet.assert_live(result.release)
    calls = fleet.calls("web1")
    assert calls.count("exec") == 1
    assert calls.index("env") < calls.index("exec") < calls.index("start")
    assert [fleet.calls(name).count("exec") for name in ("web2", "web3")] == [0, 0]
    asked = (fleet.host("web1").root / "calls").read_text()
    assert f"exec shop production --release {result.release} --limit 600 -- /bin/sh -c" in asked
    assert [one["line"] for one in fleet.told("command_output")] == ["applying 1 migration", "done"]
    assert not [one for one in fleet.store.events.of(result.rollout) if one.event == "command_output"]


@pytest.mark.parametrize(("exit_code", "code"), [("1", "before-failed"), ("127", "before-not-found")])
def test_a_failure_ends_the_release_and_says_what_it_wrote(fleet_of_three, exit_code, code):
    fleet = fleet_of_three
    first = fleet.release("one")
    fleet.make("web1", "exec-code", exit_code)

    with pytest.raises(HostError) as caught:
        fleet.release("two", options=OPTIONS)

    fleet.assert_live(first.release)
    error = caught.value
    assert (error.code, error.host, error.exit_code) == (code, "web1", 1)
    assert "`prisma migrate deploy`" in error.what
    assert error.details == "applying 1 migration\ndone"
    assert "discard" in fleet.calls("web1")
    assert fleet.calls("web2").count("start") == 1


def test_what_took_its_whole_time_is_said_to_be_late(fleet_of_three):
    fleet = fleet_of_three
    fleet.make("web1", "exec-code", "143")

    with pytest.raises(HostError) as caught:
        fleet.release("one", options=Options(waves=Waves(before="sleep 9", before_timeout=1e-9)))

    assert caught.value.code == "before-timeout"
    assert "before_timeout" in str(caught.value.fix)


def test_only_prepared_or_waiting_releases_and_rollbacks_run_nothing(fleet_of_three):
    fleet = fleet_of_three
    fleet.release("one")
    fleet.release("two", options=OPTIONS, activate=False)
    fleet.release("three", options=Options(waves=OPTIONS.waves, approval=Approval(mode="any")))
    assert "exec" not in fleet.calls("web1")
    fleet.release("four", options=OPTIONS)
    wish = RollbackWish(app=fleet.app, environment=fleet.environment, hosts=fleet.names, options=OPTIONS)
    perform.rollback(fleet.workshop, wish, report=fleet.report, cancel=fleet.cancel)
    assert fleet.calls("web1").count("exec") == 1


def test_no_secret_in_its_output_is_told(fleet_of_three):
    fleet = fleet_of_three
    fleet.store.variables.put(fleet.app, fleet.environment, "DATABASE_URL", Secret("migration"), build=False, who="ada")
    fleet.release("one", options=OPTIONS)
    assert [one["line"] for one in fleet.told("command_output")] == ["applying 1 ***", "done"]
