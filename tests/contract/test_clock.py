"""The clock with the real APScheduler on a real SQLite file: what fires, what does not, and kill -9 while it fires."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployd.daemon import clock as clocks
from deployd.daemon.clock import Clock
from deployd.domain.cron import Cron, next_runs
from deployd.domain.ids import AppName, EnvironmentName
from deployd.errors import BusyError, DeploydError, NotFoundError
from deployd.rollouts import steps, timing
from deployd.store.moments import text_of
from tests.contract import clockdrive

if TYPE_CHECKING:
    from deployd.domain.daemon import QueuedAsk

APP, PRODUCTION = AppName.parse("shop"), EnvironmentName.parse("production")
DRIVE = Path(clockdrive.__file__)


@pytest.fixture
def daemon(tmp_path):
    made = clockdrive.daemon(tmp_path / "state")
    yield made
    made.store.close()


@pytest.fixture
def start(daemon):
    """Start clocks, one after the other, and stop them at the end."""
    running = []

    def begin() -> Clock:
        clock = Clock()
        clock.start(daemon)
        running.append(clock)
        return clock

    yield begin
    for clock in running:
        clock.stop()


def rollback(store, **when):
    return timing.schedule(
        store, kind="rollback", app=APP, environment=PRODUCTION, who="ada", timezone="UTC", **when
    )  # fmt: skip


def asked(store) -> list[QueuedAsk]:
    return [one for one in store.queue.latest() if one.ask.cause == "schedule"]


def wait_for(what, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def long_ago(store, schedule, **ago) -> None:
    """As if its time had been then."""
    store.schedules.put_off(schedule.id, datetime.now(UTC) - timedelta(**ago))


def test_a_one_off_fires_once_at_its_time(daemon, start):
    start()
    made = rollback(daemon.store, within=0.3)
    assert not asked(daemon.store)
    start_again = Clock()  # another clock on the same table (of a process that is about to end): once all the same
    start_again.start(daemon)
    wait_for(lambda: daemon.store.schedules.get(made.id).state == "done")
    time.sleep(0.3)
    start_again.stop()
    (only,) = asked(daemon.store)
    assert only.ask.key == f"schedule:{made.id}:{made.at}"
    assert (only.ask.kind, only.ask.who, only.ask.automatic) == ("rollback", "ada", False)
    (run,) = daemon.store.schedules.runs(made.id)
    assert (run.planned, run.outcome, run.why) == (made.at, "asked", None)
    late = datetime.fromisoformat(run.fired) - datetime.fromisoformat(made.at)
    assert timedelta(0) <= late < timedelta(seconds=clocks.LOOK_EVERY)


def test_a_schedule_that_a_second_terminal_makes_is_found(daemon, start):
    clock = start()
    made = rollback(daemon.store, within=0.2)
    clock.wake()
    wait_for(lambda: daemon.store.schedules.get(made.id).state == "done")
    assert len(asked(daemon.store)) == 1


def test_a_cancelled_one_does_not_fire(daemon, start):
    clock = start()
    for within in (0.4, 2.0, 8.0):  # until it is not too late
        made = rollback(daemon.store, within=within)
        clock.wake()
        wait_for(lambda made=made: f"{made.id}@{made.at}" in jobs(daemon.store) or asked(daemon.store))
        with suppress(BusyError):
            timing.cancel_schedule(daemon.store, made.id, who="bob")
            break
    time.sleep(within + 0.2)
    assert not [one for one in asked(daemon.store) if made.id in one.ask.key]
    assert daemon.store.schedules.get(made.id).ended_by == "bob"
    with pytest.raises(BusyError) as error:
        timing.cancel_schedule(daemon.store, made.id, who="bob")
    assert (error.value.code, error.value.what) == ("schedule-over", f"{made.id} is over: cancelled by bob")


def test_a_one_off_that_was_missed_runs_once_and_says_so(daemon, start):
    made = rollback(daemon.store, within=60)
    long_ago(daemon.store, made, hours=5)
    start()
    start()
    assert len(asked(daemon.store)) == 1
    (run,) = daemon.store.schedules.runs(made.id)
    assert (run.outcome, run.why) == ("asked", "missed by 5 h 00 m: no daemon ran")


def test_what_is_to_be_skipped_is_skipped_and_reported(daemon, start):
    made = rollback(daemon.store, cron="0 4 * * 1-5")
    before = made.next_at
    long_ago(daemon.store, made, hours=5)
    start()
    assert not asked(daemon.store)
    after = daemon.store.schedules.get(made.id)
    assert (after.state, after.next_at) == ("active", before)
    (run,) = daemon.store.schedules.runs(made.id)
    assert run.outcome == "skipped"
    (entry,) = [one for one in daemon.store.audit.latest() if one.action == "schedule"]
    assert (entry.subject, entry.outcome) == (made.id, "skipped")


def test_cron_goes_on_after_each_run(daemon, start):
    made = timing.schedule(
        daemon.store, kind="rollback", app=APP, environment=PRODUCTION, who="ada", timezone="Europe/Berlin",
        cron="30 2 * * *", now=datetime(2026, 10, 24, 12, 0, tzinfo=UTC),
    )  # fmt: skip
    assert made.next_at == "2026-10-25T00:30:00.000Z"
    start()  # that night is over for long: it is one missed run, and skipped; then the next night comes
    following = datetime.fromisoformat(daemon.store.schedules.get(made.id).next_at)
    assert following > datetime.now(UTC)
    assert following - datetime.now(UTC) <= timedelta(days=1, hours=1)


def test_an_error_while_firing_is_tried_again(daemon, start, monkeypatch):
    """A full disk in that moment: the timer's job is gone by then, the row is not."""
    monkeypatch.setattr(clocks, "LOOK_EVERY", 0.2)
    real, failures = daemon.ask, [OSError("No space left on device")] * 2

    def failing(*args, **named):
        if failures:
            raise failures.pop()
        return real(*args, **named)

    daemon.ask = failing
    start()
    made = rollback(daemon.store, within=0.3)
    wait_for(lambda: daemon.store.schedules.get(made.id).state == "done")
    assert not failures
    assert len(asked(daemon.store)) == 1


def test_the_timers_table_is_made_again_from_ours(daemon, start):
    first = start()
    made = rollback(daemon.store, within=3600)
    first.wake()
    wait_for(lambda: jobs(daemon.store))
    first.stop()
    timing.cancel_schedule(daemon.store, made.id, who="ada")
    other = rollback(daemon.store, within=7200)
    start()
    assert jobs(daemon.store) == [f"{other.id}@{other.at}"]


def jobs(store) -> list[str]:
    with store.database.read() as connection:
        return [row[0] for row in connection.exec_driver_sql("SELECT id FROM apscheduler_jobs")]


def test_cancel_and_fire_at_the_same_moment_agree(daemon, start):
    """Either it is cancelled and nothing happens, or the person is told that it runs."""
    start()
    for _ in range(5):
        made = rollback(daemon.store, within=0.15)
        clock = Clock()
        clock.start(daemon)
        time.sleep(0.12 + random.random() * 0.06)
        try:
            timing.cancel_schedule(daemon.store, made.id, who="bob")
            cancelled = True
        except BusyError:
            cancelled = False
        if not cancelled:
            wait_for(lambda made=made: any(made.id in one.ask.key for one in asked(daemon.store)))
        time.sleep(0.25)
        clock.stop()
        assert bool([one for one in asked(daemon.store) if one.ask.key.split(":")[1] == made.id]) is not cancelled


@pytest.mark.parametrize("point", [f"{moment}:fire" for moment in ("before", "done", "after")])
def test_killed_at_the_moment_it_fires_it_is_done_once(tmp_path, point):
    state = tmp_path / "state"
    daemon = clockdrive.daemon(state)
    made = rollback(daemon.store, within=1.5)
    dead = run(state, f"{point}=kill")
    assert dead.wait(timeout=90) == -signal.SIGKILL
    seen = len(asked(daemon.store))
    assert seen == (0 if point == "before:fire" else 1)
    if point == "before:fire":  # nobody can say any more that it is not to be: it has begun
        with pytest.raises(BusyError) as error:
            timing.cancel_schedule(daemon.store, made.id, who="bob")
        assert error.value.code == "schedule-begun"
    again = run(state, "", seconds=1.0)
    assert again.wait(timeout=90) == 0
    (only,) = asked(daemon.store)
    assert only.ask.key == f"schedule:{made.id}:{made.at}"
    (done,) = daemon.store.schedules.runs(made.id)
    assert done.outcome == "asked"
    assert daemon.store.schedules.get(made.id).state == "done"
    daemon.store.close()


def run(state: Path, fault: str, seconds: float = 15.0) -> subprocess.Popen[str]:
    env = {**os.environ, steps.FAULT_VARIABLE: fault, "PYTHONPATH": str(DRIVE.parents[2])}
    return subprocess.Popen([sys.executable, str(DRIVE), str(state), str(seconds)], env=env, stdout=subprocess.DEVNULL)


def test_a_freeze_holds_automatic_asks_until_it_ends(daemon, start):
    start()
    (gate,) = daemon.dispatcher.gates
    queued = _queued(daemon.store)
    assert gate(queued) is None
    timing.freeze(daemon.store, APP, PRODUCTION, who="eve", timezone="UTC", within=3600, reason="the holidays")
    assert "by eve (the holidays)" in gate(queued)
    assert gate(_queued(daemon.store, environment="staging")) is None
    assert daemon.store.freezes.end(APP, PRODUCTION, who="eve") == 1
    assert gate(queued) is None


def _queued(store, environment: str = "production") -> QueuedAsk:
    from deployd.domain.ask import Ask

    ask = Ask(kind="release", app=APP, environment=EnvironmentName(environment), cause="push", who="x", automatic=True)
    return store.queue.get(store.queue.add(ask)[0])


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({}, "schedule-invalid"),
        ({"within": 60, "cron": "0 4 * * *"}, "schedule-invalid"),
        ({"within": 0.0}, "schedule-invalid"),
        ({"at": "2020-01-01 00:00"}, "time-invalid"),
        ({"at": "some day"}, "time-invalid"),
        ({"at": "2200-01-01 00:00"}, "schedule-invalid"),
        ({"cron": "0 4 * *"}, "cron-invalid"),
        ({"cron": "0 4 * * *", "timezone": "Mars/Olympus"}, "zone-unknown"),
        ({"within": 60, "kind": "promote"}, "schedule-invalid"),
        ({"within": 60, "kind": "release"}, "app-unknown"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_before_it_is_kept(daemon, wanted, code):
    fields = {"kind": "rollback", "timezone": "UTC", **wanted}
    with pytest.raises(DeploydError) as error:
        timing.schedule(daemon.store, app=APP, environment=PRODUCTION, who="ada", **fields)
    assert (error.value.code, error.value.exit_code) == (code, 2)
    assert error.value.fix
    assert not daemon.store.schedules.latest()


def test_who_writes_while_it_fires_is_not_in_its_way(daemon, start):
    """Threads that write all the time: no run is lost or doubled."""
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            daemon.store.audit.add(who="x", origin="test", action="write")

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        clock = start()
        made = [rollback(daemon.store, within=0.2 + number * 0.05) for number in range(10)]
        clock.wake()
        wait_for(lambda: len(asked(daemon.store)) == len(made))
        wait_for(lambda: not daemon.store.schedules.active())
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert {one.ask.key.split(":")[1] for one in asked(daemon.store)} == {one.id for one in made}


def test_unknown_ids_are_told(daemon):
    with pytest.raises(NotFoundError):
        daemon.store.schedules.get("s-nothere")
    with pytest.raises(NotFoundError):
        timing.confirm(daemon.store, None, APP, PRODUCTION, who="ada")


@pytest.mark.parametrize(
    ("text", "translated"),
    [
        ("0 4 * * 1-5", ("0", "4", "*", "*", "mon-fri")),
        ("30 2 * * 0", ("30", "2", "*", "*", "sun")),
        ("*/20 8-18/5 * jan,mar-apr *", ("*/20", "8-18/5", "*", "jan,mar-apr", "*")),
        ("5,35 0 1,15 * *", ("5,35", "0", "1,15", "*", "*")),
        ("0 12 29 2 *", ("0", "12", "29", "2", "*")),
    ],
)
def test_where_clocks_do_not_change_the_library_agrees(text, translated):
    """An oracle of other hands: APScheduler's own cron, with weekdays by name, in UTC."""
    from apscheduler.triggers.cron import CronTrigger

    minute, hour, day, month, weekday = translated
    trigger = CronTrigger(minute=minute, hour=hour, day=day, month=month, day_of_week=weekday, timezone=UTC)
    moment, theirs = datetime(2026, 11, 21, 15, 7, tzinfo=UTC), []
    while len(theirs) < 40:
        following = trigger.get_next_fire_time(theirs[-1] if theirs else None, moment)
        theirs.append(following)
        moment = following + timedelta(seconds=1)
    ours = next_runs(Cron.parse(text), after=datetime(2026, 11, 21, 15, 7, tzinfo=UTC), zone=UTC, count=40)
    assert [text_of(one) for one in ours] == [text_of(one) for one in theirs]
