"""A process killed while it has a host out of the load balancer: whoever comes next gives that host back."""

from __future__ import annotations

import json

import pytest

from tests.faults.fleets import HOSTS, KILLED, Fleet


def drained(fleet: Fleet) -> list[list[str]]:
    return [json.loads((fleet.hosts / name / "state.json").read_text()).get("drained", []) for name in HOSTS]


@pytest.mark.parametrize("comes", [("resume",), ("rollback",), ("rollback", "--drain", "0.01"), ("release",)])
def test_no_host_stays_drained(released, comes):
    fleet, old = released
    code, _ = fleet.run("release", "--commit", "two", "--waves", "--drain", "0.01", fault="before:probe=kill")
    assert code == KILLED
    assert drained(fleet) == [["rollout"], [], []]

    assert fleet.run(*comes, *(["--commit", "three"] if comes == ("release",) else []))[0] == 0

    assert drained(fleet) == [[], [], []]
    if comes[0] == "rollback":
        fleet.assert_one_live(old)
    fleet.assert_settled()
