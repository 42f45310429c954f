"""The daemon's clock, whole: schedules, ways back, freezes and approvals over its socket, and kill -9 while it fires."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from deployd.domain.events import quiet
from deployd.domain.ids import EnvironmentName
from deployd.domain.options import Approval, Options
from deployd.domain.stages import SourceRequest
from deployd.errors import BusyError, NotAllowedError, NotFoundError
from deployd.paths import StatePaths
from deployd.remote.client import RemoteClient
from deployd.remote.connection import Daemon
from deployd.rollouts import steps
from deployd.rollouts.wishes import ReleaseWish
from tests.faults import servedrive
from tests.faults.fleets import APP, HOSTS, KILLED, PRODUCTION, wait_for

ROOT = Path(servedrive.__file__).parents[2]


class Served:
    """A fleet with a daemon that may be killed and started again."""

    def __init__(self, fleet) -> None:
        self.fleet = fleet
        self.paths = StatePaths(fleet.state)
        self.process: subprocess.Popen[bytes] | None = None
        self.client = self._connect()

    def start(self, *, fault: str = "") -> None:
        env = {**os.environ, steps.FAULT_VARIABLE: fault, "PYTHONPATH": str(ROOT)}
        log = (self.fleet.folder / "daemon.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, servedrive.__file__, str(self.fleet.state), str(self.fleet.hosts)],
            env=env, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()
        self.client.close()
        self.client = self._connect()
        wait_for(lambda: self.process.poll() is not None or self.client._link.probe(), seconds=30)
        assert fault or self.process.poll() is None, (self.fleet.folder / "daemon.log").read_text()

    def _connect(self) -> RemoteClient:
        return RemoteClient(Daemon(socket=self.paths.socket), self.paths, who="ada")

    def release(self, commit: str, **wanted):
        options = wanted.pop("options", Options())
        wish = ReleaseWish(
            app=APP, environment=PRODUCTION, source=SourceRequest(repository="/r", ref=commit),
            hosts=tuple(sorted(HOSTS)), options=options, **wanted,
        )  # fmt: skip
        return self.client.release(wish, report=quiet, cancel=threading.Event())

    def killed(self) -> None:
        assert self.process is not None
        assert self.process.wait(timeout=30) == KILLED

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=40)
        self.client.close()


@pytest.fixture
def served(released):
    fleet, old = released
    made = Served(fleet)
    yield made, old
    made.end()


def test_what_nobody_confirmed_goes_back_and_what_somebody_confirmed_stays(served):
    daemon, old = served
    daemon.start()
    result = daemon.release("two", confirm_within=1.5)
    assert result.outcome == "live"
    wait_for(lambda: daemon.client.rollouts(APP, PRODUCTION)[0].kind == "rollback")
    wait_for(lambda: daemon.client.rollouts(APP, PRODUCTION)[0].finished)
    back = daemon.client.rollouts(APP, PRODUCTION)[0]
    assert (back.outcome, back.release) == ("live", old)
    daemon.fleet.assert_one_live(old)
    for within in (3.0, 15.0, 60.0):  # until it is confirmed in time
        kept = daemon.release("three", confirm_within=within)
        with suppress(NotFoundError, BusyError):
            assert daemon.client.agenda.confirm(kept.rollout, APP, PRODUCTION)["state"] == "confirmed"
            break
        wait_for(lambda kept=kept: daemon.client.rollouts(APP, PRODUCTION)[0].id != kept.rollout)
        wait_for(lambda: daemon.client.rollouts(APP, PRODUCTION)[0].finished)
    time.sleep(within + 0.5)
    daemon.fleet.assert_one_live(kept.release)
    with pytest.raises(NotFoundError):
        daemon.client.agenda.confirm(kept.rollout, APP, PRODUCTION)


@pytest.mark.parametrize("point", [f"{moment}:fire" for moment in ("before", "done", "after")])
def test_killed_while_the_way_back_is_taken_it_is_taken_once(served, point):
    daemon, old = served
    daemon.start(fault=f"{point}=kill")
    result = daemon.release("two", confirm_within=1.0)
    daemon.killed()
    daemon.start()
    wait_for(lambda: set(daemon.fleet.live.values()) == {old})
    wait_for(lambda: all(one.finished for one in daemon.client.rollouts(APP, PRODUCTION)))
    records = daemon.client.rollouts(APP, PRODUCTION)
    assert [one.kind for one in records[:2]] == ["rollback", "release"]
    assert len([one for one in records if one.kind == "rollback"]) == 1
    assert records[1].id == result.rollout


def test_a_way_back_whose_time_came_while_no_daemon_ran_is_taken_at_the_start(served):
    daemon, old = served
    code, _ = daemon.fleet.run("release", "--commit", "two", "--confirm-within", "0.5")
    assert code == 0
    time.sleep(1.0)
    daemon.start()
    wait_for(lambda: set(daemon.fleet.live.values()) == {old})


def test_a_scheduled_rollback_is_listed_cancelled_run_now_and_done(served):
    daemon, old = served
    daemon.start()
    result = daemon.release("two")
    agenda = daemon.client.agenda
    where = {"app": APP, "environment": PRODUCTION, "timezone": "Europe/Berlin"}
    far = agenda.schedule(kind="rollback", cron="0 4 * * 1-5", **where)
    assert (far["if_missed"], len(far["next_runs"])) == ("skip", 3)
    later = agenda.schedule(kind="rollback", within=3600.0, **where)
    assert [one["id"] for one in agenda.schedules(APP, PRODUCTION)] == [later["id"], far["id"]]
    assert agenda.cancel_schedule(later["id"])["state"] == "cancelled"
    near = agenda.schedule(kind="rollback", within=1.0, **where)
    wait_for(lambda: set(daemon.fleet.live.values()) == {old})
    wait_for(lambda: near["id"] not in {one["id"] for one in agenda.schedules(APP, PRODUCTION)})
    (done,) = [one for one in agenda.schedules(APP, None, every=True) if one["id"] == near["id"]]
    assert (done["state"], done["runs"][0]["outcome"]) == ("done", "asked")
    assert done["runs"][0]["rollout"] == daemon.client.rollouts(APP, PRODUCTION)[0].id
    daemon.release("three")
    rollout = agenda.run_schedule(far["id"])
    ended = daemon.client.follow(rollout, report=quiet, cancel=threading.Event())
    assert (ended.outcome, ended.release) == ("live", old)
    assert agenda.cancel_schedule(far["id"])["state"] == "cancelled"
    assert agenda.schedules(APP, PRODUCTION) == []
    assert result.release != old
    said = [(one.action, one.who != "") for one in daemon.client.store.audit.latest()]
    assert ("cancel schedule", True) in said
    assert said.count(("schedule", True)) == 3


@pytest.mark.parametrize("point", [f"{moment}:fire" for moment in ("before", "done", "after")])
def test_a_scheduled_rollback_survives_kill_9_at_the_moment_it_fires(served, point):
    daemon, old = served
    daemon.start(fault=f"{point}=kill")
    daemon.release("two")
    daemon.client.agenda.schedule(
        kind="rollback", app=APP, environment=PRODUCTION, timezone="UTC", within=0.5, if_missed="skip"
    )
    daemon.killed()
    daemon.start()
    wait_for(lambda: set(daemon.fleet.live.values()) == {old})
    wait_for(lambda: not daemon.client.agenda.schedules(APP, PRODUCTION))
    wait_for(lambda: all(one.finished for one in daemon.client.rollouts(APP, PRODUCTION)))
    assert len([one for one in daemon.client.rollouts(APP, PRODUCTION) if one.kind == "rollback"]) == 1


def test_a_freeze_and_an_approval_over_the_socket(served):
    daemon, old = served
    daemon.start()
    agenda = daemon.client.agenda
    agenda.freeze(APP, PRODUCTION, within=3600.0, timezone="UTC", reason="the holidays")
    with pytest.raises(NotAllowedError) as error:
        daemon.release("two")
    assert error.value.code == "frozen"
    assert daemon.client.status(APP, PRODUCTION, tuple(sorted(HOSTS))).freeze["reason"] == "the holidays"
    consent = Options(approval=Approval(mode="any", timeout=600.0))
    waiting = daemon.release("two", options=consent, during_freeze=True)
    assert waiting.outcome == "waiting"
    assert [one["release"] for one in agenda.approvals(APP, None)] == [waiting.release]
    with pytest.raises(NotAllowedError):
        approve(daemon, during_freeze=False)
    daemon.fleet.assert_one_live(old)
    assert agenda.unfreeze(APP, PRODUCTION) == 1
    live = approve(daemon, during_freeze=False)
    assert (live.outcome, live.release) == ("live", waiting.release)
    daemon.fleet.assert_one_live(waiting.release)
    assert agenda.approvals(APP, PRODUCTION) == []
    assert [one["state"] for one in agenda.approvals(APP, PRODUCTION, every=True)] == ["approved"]
    again = daemon.release("three", options=consent)
    assert agenda.reject(again.rollout, APP, PRODUCTION, reason="no")["state"] == "rejected"
    assert agenda.freezes(APP, PRODUCTION) == []


def approve(daemon, *, during_freeze: bool):
    return daemon.client.agenda.approve(
        None, APP, PRODUCTION, during_freeze=during_freeze, report=quiet, cancel=threading.Event()
    )


def test_a_scheduled_promotion_brings_the_artifact_to_the_other_environment(served):
    daemon, _ = served
    daemon.start()
    made = daemon.release("two")
    staging = EnvironmentName("staging")
    wish = ReleaseWish(
        app=APP, environment=staging, source=SourceRequest(repository="/r", ref="three"),
        hosts=tuple(sorted(HOSTS))[:1], options=Options(),
    )  # fmt: skip
    daemon.client.release(wish, report=quiet, cancel=threading.Event())
    agenda = daemon.client.agenda
    promoted = agenda.schedule(
        kind="promote", app=APP, environment=staging, release=made.release, within=0.5, timezone="UTC"
    )
    wait_for(lambda: daemon.client.rollouts(APP, staging)[0].kind == "promote")
    wait_for(lambda: daemon.client.rollouts(APP, staging)[0].finished)
    newest = daemon.client.releases(APP, staging)[0]
    assert daemon.client.rollouts(APP, staging)[0].outcome == "live"
    assert newest.artifact == next(
        one.artifact for one in daemon.client.releases(APP, PRODUCTION) if one.id == made.release
    )
    wait_for(lambda: not agenda.schedules(APP, staging))
    (done,) = [one for one in agenda.schedules(APP, staging, every=True) if one["id"] == promoted["id"]]
    assert (done["state"], done["runs"][0]["outcome"]) == ("done", "asked")
