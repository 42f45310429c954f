"""An app taken off its hosts: what goes there, what stays here, and when nothing may go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from deployd.domain.options import Options
from deployd.domain.release import ReleaseState
from deployd.domain.schedule import Schedule
from deployd.domain.secret import Secret
from deployd.errors import BusyError, HostError, NotFoundError
from deployd.rollouts import locks, removing, upkeep


def destroy(fleet, *, hosts=None, everywhere=True, variables=False):
    place = (fleet.app, fleet.environment)
    with (
        fleet.workshop.pool_of(hosts or fleet.names) as pool,
        upkeep.held(fleet.paths, pool, *place, who="ada", doing="destroy", store=fleet.store),
    ):
        return removing.remove(
            fleet.store, pool, *place, options=Options(), everywhere=everywhere, variables=variables, who="ada",
            report=fleet.report,
        )  # fmt: skip


def present(fleet):
    with fleet.workshop.pool_of(fleet.names) as pool:
        return {str(one.host): one for one in removing.look(pool, fleet.app, fleet.environment)}


def test_what_is_there_is_said_and_then_nothing_is_there(fleet_of_three):
    fleet = fleet_of_three
    first, second = fleet.release("one"), fleet.release("two")
    before = present(fleet)["web1"]
    assert (before.live, before.releases, before.processes) == (second.release, 2, 2)

    done = destroy(fleet)

    fleet.assert_live(None)
    assert [one["removed"] for one in done["hosts"]] == [True, True, True]
    assert not any(one.anything for one in present(fleet).values())
    for made in (first, second):
        assert fleet.store.releases.get(made.release).state is ReleaseState.PRUNED
    assert [one["removed"] for one in destroy(fleet)["hosts"]] == [False, False, False]
    fleet.assert_live(None)


def test_it_can_be_released_again_and_not_be_rolled_back_to(fleet_of_three):
    fleet = fleet_of_three
    fleet.release("one")
    destroy(fleet)

    with pytest.raises(NotFoundError):
        fleet.rollback()
    again = fleet.release("one")
    fleet.assert_live(again.release)


def test_variables_stay_unless_they_are_named(fleet_of_three):
    fleet = fleet_of_three
    place = (fleet.app, fleet.environment)
    fleet.store.variables.put(*place, "TOKEN", Secret("t"), build=False, who="ada")
    fleet.release("one")

    destroy(fleet)
    assert "TOKEN" in {one.key for one in fleet.store.variables.of(*place)}
    assert "TOKEN" in destroy(fleet, variables=True)["variables"]
    assert fleet.store.variables.of(*place) == ()


def test_its_schedules_end_only_with_its_last_host(fleet_of_three):
    fleet = fleet_of_three
    fleet.release("one")
    at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    fleet.store.schedules.add(
        Schedule(
            id="s-1", app=fleet.app, environment=fleet.environment, kind="release", at=at, next_at=at, who="ada",
            created=at,
        )
    )  # fmt: skip

    assert destroy(fleet, hosts=fleet.names[:1], everywhere=False)["schedules"] == []
    assert [name for name, one in present(fleet).items() if one.anything] == ["web2", "web3"]
    assert destroy(fleet)["schedules"] == ["s-1"]
    assert fleet.store.schedules.active(fleet.app, fleet.environment) == ()


def test_nothing_goes_while_a_rollout_runs(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    with locks.app_lock(fleet.paths, fleet.app, fleet.environment, store=fleet.store) as lock:
        assert lock.take(locks.held_by(who="bob", command="deployd release (shop production)"))
        with pytest.raises(BusyError) as here:
            destroy(fleet)
    held = fleet.host("web2").open(("hold", "shop", "production"))
    with pytest.raises(HostError) as there:
        destroy(fleet)
    held.close()

    assert (here.value.exit_code, there.value.exit_code) == (4, 4)
    fleet.assert_live(first.release)


def test_a_host_that_does_not_let_go_is_named_and_nothing_here_is_forgotten(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    fleet.make("web2", "fail-remove-app", "web-reload-failed")

    done = destroy(fleet, variables=True)

    assert {one["host"]: one["error"] and one["error"]["code"] for one in done["hosts"]} == {
        "web1": None, "web2": "web-reload-failed", "web3": None,
    }  # fmt: skip
    assert done["variables"] == []
    assert fleet.store.releases.get(first.release).state is ReleaseState.LIVE
    assert fleet.live["web2"] == first.release
