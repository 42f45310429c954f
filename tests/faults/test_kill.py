"""A process killed at any named point: what is live is a complete release, the old one or the new one, and `resume`, a
rollback or the next release each bring the fleet to one known end. The points are enumerated from the code.
"""

from __future__ import annotations

import base64
import json
import pickle
import sqlite3
from contextlib import closing

import pytest

from deployd.domain.secret import Secret
from deployd.rollouts import steps
from deployd.rollouts.states import TERMINAL, State
from tests.faults.fleets import APP, KILLED, PRODUCTION, Fleet, release_of


@pytest.mark.parametrize("point", steps.checkpoints(steps.RELEASE))
def test_a_killed_release_is_resumed_to_live(released, point):
    fleet, _old = released
    code, _ = fleet.run("release", "--commit", "two", fault=f"{point}=kill")
    assert code == KILLED
    fleet.assert_complete()

    code, done = fleet.run("resume")

    assert code == 0, done
    fleet.assert_one_live(release_of(fleet))
    assert release_of(fleet) is not None
    fleet.assert_settled()
    fleet.assert_complete()
    if point != "after:close":
        expected = "live"
        results = done["result"]
        assert [result["outcome"] for result in results] in ([expected], []), results


@pytest.mark.parametrize("point", steps.checkpoints(steps.RELEASE))
def test_a_killed_release_never_overtakes_the_rollback_made_in_between(twice, point):
    fleet, first, second = twice
    code, _ = fleet.run("release", "--commit", "three", fault=f"{point}=kill")
    assert code == KILLED
    third = release_of(fleet)
    flipped = third in fleet.live.values()

    code, done = fleet.run("rollback")

    # what was cut off is what is left, if it had reached a host; else the rollback goes back from what is live
    wanted = second if flipped else first
    assert code == 0, done
    fleet.assert_one_live(wanted)
    code, done = fleet.run("resume")
    assert code == 0
    fleet.assert_one_live(wanted)
    fleet.assert_settled()
    fleet.assert_complete()
    client = fleet.client()
    live = [one.id for one in client.releases(APP, PRODUCTION) if one.state == "live"]
    client.close()
    assert live == [wanted]


@pytest.mark.parametrize("point", [f"done:{step}" for step in steps.RELEASE])
def test_the_next_release_settles_a_killed_one(released, point):
    fleet, _old = released
    code, _ = fleet.run("release", "--commit", "two", fault=f"{point}=kill")
    assert code == KILLED

    code, done = fleet.run("release", "--commit", "three")

    assert code == 0, done
    fleet.assert_one_live(done["result"]["release"])
    fleet.assert_settled()
    fleet.assert_complete()


@pytest.mark.parametrize("point", steps.checkpoints((steps.Step.BEFORE,)))
def test_a_release_killed_around_its_command_is_resumed_to_live(released, point):
    fleet, _old = released
    code, _ = fleet.run("release", "--commit", "two", "--before", "migrate", fault=f"{point}=kill")
    assert code == KILLED
    assert "start" not in last_release_calls(fleet)

    assert fleet.run("resume")[0] == 0

    fleet.assert_one_live(release_of(fleet))
    fleet.assert_settled()
    ran = last_release_calls(fleet).count("exec")
    assert ran == (2 if point == "done:before" else 1)


def last_release_calls(fleet: Fleet) -> list[str]:
    """The verbs that the first host was asked for the newest release."""
    release = release_of(fleet)
    lines = (fleet.hosts / "web1" / "calls").read_text().splitlines()
    return [line.split()[0] for line in lines if f" {release}" in line]


@pytest.mark.parametrize("point", steps.checkpoints(steps.ROLLBACK))
def test_a_killed_rollback_is_resumed(twice, point):
    fleet, first, _second = twice
    code, _ = fleet.run("rollback", fault=f"{point}=kill")
    assert code == KILLED
    fleet.assert_complete()

    code, done = fleet.run("resume")

    assert code == 0, done
    fleet.assert_one_live(first)
    fleet.assert_settled()


@pytest.mark.parametrize("point", [f"done:{step}" for step in steps.ROLLBACK])
def test_a_second_rollback_ends_where_the_killed_one_was_going(twice, point):
    fleet, first, second = twice
    code, _ = fleet.run("rollback", fault=f"{point}=kill")
    assert code == KILLED
    ended = all(State(state) in TERMINAL for state in fleet.states)

    code, done = fleet.run("rollback")

    assert code == (2 if ended else 0), done  # one that had come to its end leaves nothing further to go back to
    fleet.assert_one_live(first)
    fleet.run("resume")
    fleet.assert_one_live(first)
    fleet.assert_settled()
    client = fleet.client()
    assert client.release_by_id(second).mark == "bad"
    client.close()


@pytest.mark.parametrize("point", steps.checkpoints(steps.TURN_BACK))
def test_a_kill_while_turning_back_ends_with_the_old_release(released, point):
    fleet, old = released
    (fleet.hosts / "web3" / "fail-probe-web").write_text("probe-failed")
    code, _ = fleet.run("release", "--commit", "two", "--waves", fault=f"{point}=kill")
    assert code == KILLED
    fleet.assert_complete()

    code, done = fleet.run("resume")

    assert code == 0, done
    fleet.assert_one_live(old)
    fleet.assert_settled()
    fleet.assert_complete()


@pytest.mark.parametrize("point", ["after:flip", "before:pause", "before:flip#2", "done:flip#2", "after:flip#2"])
def test_a_kill_between_waves_is_resumed_or_turned_back(released, point):
    fleet, old = released
    code, _ = fleet.run("release", "--commit", "two", "--waves", fault=f"{point}=kill")
    assert code == KILLED
    fleet.assert_complete()
    new = release_of(fleet)

    assert fleet.run("resume")[0] == 0
    fleet.assert_one_live(new)

    code, _ = fleet.run("release", "--commit", "three", "--waves", fault=f"{point}=kill")
    client = fleet.client()
    client.cancel(None, APP, PRODUCTION)
    client.close()
    assert fleet.run("resume")[0] == 0
    fleet.assert_one_live(new)
    fleet.assert_settled()
    assert fleet.states[-1] == State.CANCELLED
    assert old != new


def test_the_first_release_killed_in_its_flip_leaves_all_or_nothing(fleet):
    code, _ = fleet.run("release", fault="done:flip=kill")
    assert code == KILLED
    client = fleet.client()
    client.cancel(None, APP, PRODUCTION)
    client.close()

    assert fleet.run("resume")[0] == 0

    fleet.assert_one_live(None)


def test_no_checkpoint_event_or_row_holds_a_secret(fleet):
    client = fleet.client()
    client.set_variable(APP, PRODUCTION, "TOKEN", Secret("canary-4711"))
    client.close()
    assert fleet.run("release")[0] == 0

    for folder in (fleet.state, fleet.hosts):
        for file in folder.rglob("*"):
            assert not file.is_file() or b"canary-4711" not in file.read_bytes(), file


def test_checkpoints_are_plain_json(released):
    """What a later version reads: no class of this one, which it may have moved."""
    fleet, _old = released
    with closing(sqlite3.connect(fleet.state / "deployd.sqlite")) as connection:
        names = [name for (name,) in connection.execute("SELECT function_name FROM operation_outputs")]
        outputs = [output for (output,) in connection.execute("SELECT output FROM operation_outputs")]

    wanted = [str(step) for step in steps.RELEASE]
    assert [name for name in names if not name.startswith("DBOS.patch-")] == wanted
    for output in filter(None, outputs):  # a mark of a changed recipe has none
        value = pickle.loads(base64.b64decode(output))
        assert json.loads(json.dumps(value)) == value
