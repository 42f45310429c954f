"""A second process beside one that runs or hangs: who is told, who takes over, and what is live then."""

from __future__ import annotations

import os
import signal
import time

from tests.faults.fleets import APP, PRODUCTION, wait_for
from tests.support.stopping import stop


def test_a_second_release_says_who_runs_and_exits_4(released):
    fleet, _old = released
    builds = fleet.state.parent / "builds-go-on"
    builds.touch()
    running = fleet.start("release", "--commit", "two", DRIVE_BUILD_FILE=str(builds))
    wait_for(lambda: "building" in fleet.states)

    code, done = fleet.run("release", "--commit", "three")

    assert code == 4
    assert done["error"]["code"] == "busy"
    assert "ada" in done["error"]["what"]
    assert str(running.pid) in done["error"]["what"]
    builds.unlink()
    assert fleet.end(running)[0] == 0


def test_a_rollback_cancels_a_running_release_and_takes_over(twice):
    fleet, first, _second = twice
    running = fleet.start("release", "--commit", "three", DRIVE_BUILD_S="60")
    wait_for(lambda: "building" in fleet.states)
    time.sleep(0.5)

    started = time.monotonic()
    code, done = fleet.run("rollback")
    seconds = time.monotonic() - started

    assert code == 0, done
    fleet.assert_one_live(first)
    code, done = fleet.end(running)
    assert code == 7
    assert done["error"]["class"] == "SupersededError"
    assert seconds < 40
    fleet.assert_settled()


def test_a_rollback_in_the_middle_of_flips_goes_back_to_what_was_live_before(twice):
    fleet, first, second = twice
    running = fleet.start("release", "--commit", "three", "--waves", fault="before:pause=pause:2")
    wait_for(lambda: len(set(fleet.live.values())) == 2)

    code, done = fleet.run("rollback")

    # the running one turned itself back to `second`; that is live again, so going back is from there
    assert code == 0, done
    fleet.assert_one_live(first, second)
    assert fleet.end(running)[0] == 7
    fleet.assert_settled()


def test_a_rollback_takes_over_from_a_process_that_hangs_and_is_not_overtaken(twice):
    """SIGSTOP: no lock in a database stops an owner that was paused; the hosts refuse what it sends afterwards."""
    fleet, first, _second = twice
    running = fleet.start("release", "--commit", "three", fault="before:flip=pause:6")
    wait_for(lambda: "probe" in (fleet.hosts / "web1" / "calls").read_text().splitlines()[-1])
    time.sleep(1)  # not in the middle of a write: whoever is stopped there holds SQLite's own lock
    stop(running.pid)

    code, done = fleet.run("rollback", DRIVE_TAKE_OVER_AFTER="1")

    assert code == 0, done
    fleet.assert_one_live(first)
    os.kill(running.pid, signal.SIGCONT)
    code, done = fleet.end(running)
    assert code == 7, done
    fleet.assert_one_live(first)
    fleet.assert_settled()


def test_a_rollback_of_another_app_does_not_wait_for_the_state_folder(twice):
    """Here: the same app in another process's hands of the folder only; the rollback runs without the engine."""
    fleet, first, _second = twice
    import fcntl

    with (fleet.state / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, done = fleet.run("rollback")

    assert code == 0, done
    fleet.assert_one_live(first)


def test_cancel_from_a_second_terminal_turns_a_running_release_back(released):
    fleet, first = released
    running = fleet.start("release", "--commit", "two", DRIVE_BUILD_S="60")
    wait_for(lambda: "building" in fleet.states)
    client = fleet.client()
    client.cancel(None, APP, PRODUCTION)
    client.close()

    code, done = fleet.end(running)

    assert code == 130, done
    assert done["error"]["live"] in (None, "unchanged") or first in done["error"]["live"]
    fleet.assert_one_live(first)


def test_a_release_that_takes_too_long_is_turned_back(released):
    fleet, first = released

    code, done = fleet.run("release", "--commit", "two", "--timeout", "1", DRIVE_BUILD_S="60")

    assert code == 1
    assert done["error"]["code"] == "rollout-timeout"
    fleet.assert_one_live(first)
