"""A process killed at any named point: what is live is a complete release, the old one or the new one, and `resume`, a
rollback or the next release each bring the fleet to one known end. The points are enumerated from the code.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

from deployd.client import Client
from deployd.domain.ids import AppName, EnvironmentName, HostName
from deployd.domain.secret import Secret
from deployd.paths import StatePaths
from deployd.rollouts import steps
from deployd.rollouts.states import TERMINAL, State
from deployd.rollouts.testing import FolderHost, folder_host

DRIVE = Path(__file__).with_name("drive.py")
APP, PRODUCTION = AppName.parse("shop"), EnvironmentName.parse("production")
HOSTS = ("web1", "web2", "web3")
KILLED = -signal.SIGKILL


class Server:
    """Imports the engine once and forks a process for each run: an import takes longer than a rollout."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, str(DRIVE), "serve"], stdin=subprocess.PIPE, text=True, cwd=folder, start_new_session=True
        )

    def start(self, argv: list[str], env: dict[str, str]) -> Run:
        self._count += 1
        out = self._folder / f"run-{self._count}"
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"argv": argv, "env": env, "out": str(out)}) + "\n")
        self._process.stdin.flush()
        return Run(out)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)


class Run:
    """One forked process."""

    def __init__(self, out: Path) -> None:
        self._out = out

    @property
    def pid(self) -> int:
        file = Path(f"{self._out}.pid")
        wait_for(lambda: file.exists() and file.read_text())
        return int(file.read_text())

    def end(self) -> tuple[int, dict]:
        code = Path(f"{self._out}.code")
        wait_for(code.exists, seconds=120)
        text = self._out.read_text()
        assert text or int(code.read_text()) == KILLED, Path(f"{self._out}.err").read_text()
        return int(code.read_text()), json.loads(text) if text else {}


class Fleet:
    """Three folder hosts, a state folder, and processes that work on them."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server = folder, server
        self.state, self.hosts = folder / "state", folder / "hosts"

    def add_hosts(self) -> None:
        client = self.client()
        for name in HOSTS:
            client.add_host(folder_host(name))
        client.close()

    def copy(self, to: Path) -> Fleet:
        shutil.copytree(self.folder, to, symlinks=True, dirs_exist_ok=True)
        return Fleet(to, self.server)

    def client(self) -> Client:
        return Client(StatePaths(self.state), who="ada")

    def start(self, verb: str, *options: str, fault: str = "", **env: str) -> Run:
        argv = [str(self.state), str(self.hosts), verb, *options]
        return self.server.start(argv, {steps.FAULT_VARIABLE: fault, **env})

    def run(self, verb: str, *options: str, fault: str = "", **env: str) -> tuple[int, dict]:
        return self.start(verb, *options, fault=fault, **env).end()

    def end(self, run: Run) -> tuple[int, dict]:
        return run.end()

    def host(self, name: str) -> FolderHost:
        return FolderHost(HostName.parse(name), self.hosts / name)

    @property
    def live(self) -> dict[str, str | None]:
        return {name: self.host(name).current for name in HOSTS}

    @property
    def states(self) -> list[str]:
        client = self.client()
        found = [record.state for record in reversed(client.rollouts(APP, PRODUCTION))]
        client.close()
        return found

    def assert_one_live(self, *releases: str | None) -> None:
        assert len(set(self.live.values())) == 1, self.live
        assert set(self.live.values()) <= set(releases), (self.live, releases)

    def assert_complete(self) -> None:
        """Promise 1: whatever `current` names is sealed and was started."""
        for name in HOSTS:
            host = self.host(name)
            if host.current:
                kept = json.loads((host.root / "state.json").read_text())["releases"]
                assert kept[host.current]["running"], (name, host.current)

    def assert_settled(self) -> None:
        assert all(State(state) in TERMINAL for state in self.states), self.states


def wait_for(condition, *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def templates(tmp_path_factory, server) -> tuple[Fleet, Fleet, Fleet]:
    """Fleets with no release, with one, and with two: made once, copied for each test."""
    bare = Fleet(tmp_path_factory.mktemp("bare"), server)
    bare.add_hosts()
    one = bare.copy(tmp_path_factory.mktemp("one"))
    assert one.run("release", "--commit", "one")[0] == 0
    two = one.copy(tmp_path_factory.mktemp("two"))
    assert two.run("release", "--commit", "two")[0] == 0
    return bare, one, two


@pytest.fixture
def fleet(tmp_path, templates) -> Fleet:
    return templates[0].copy(tmp_path)


@pytest.fixture
def released(tmp_path, templates) -> tuple[Fleet, str]:
    fleet = templates[1].copy(tmp_path)
    return fleet, fleet.live["web1"]


@pytest.fixture
def twice(tmp_path, templates) -> tuple[Fleet, str, str]:
    fleet = templates[2].copy(tmp_path)
    return fleet, templates[1].live["web1"], fleet.live["web1"]


def release_of(fleet: Fleet) -> str | None:
    client = fleet.client()
    found = client.rollouts(APP, PRODUCTION, limit=1)[0].release
    client.close()
    return found


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


@pytest.mark.parametrize("point", steps.checkpoints(steps.RELEASE))
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


@pytest.mark.parametrize("point", steps.checkpoints(steps.ROLLBACK))
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


def test_a_second_release_says_who_runs_and_exits_4(released):
    fleet, _old = released
    running = fleet.start("release", "--commit", "two", fault="before:build=pause:3")
    wait_for(lambda: "building" in fleet.states)

    code, done = fleet.run("release", "--commit", "three")

    assert code == 4
    assert done["error"]["code"] == "busy"
    assert "ada" in done["error"]["what"]
    assert str(running.pid) in done["error"]["what"]
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
    assert seconds < 10
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
    running = fleet.start("release", "--commit", "three", fault="before:flip=pause:3")
    wait_for(lambda: "probe" in (fleet.hosts / "web1" / "calls").read_text().splitlines()[-1])
    time.sleep(1)  # not in the middle of a write: whoever is stopped there holds SQLite's own lock
    os.kill(running.pid, signal.SIGSTOP)

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
