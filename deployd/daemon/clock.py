"""The clock: schedules come out of the store, and at their time asks go into the queue. The only import of APScheduler.

Our `schedules` table is the record; APScheduler is the timer. Its jobs are made again from the table at each start, one
for each run that is to come, and the moments are ours (domain/cron.py): its own cron counts weekdays from Monday, runs
02:30 twice in autumn, and drops what is a second late. Its pools are not used either: a job is removed from its store
before a pool runs it, so a process that is killed there loses it. Here the run is begun, asked and ended in the
scheduler's own thread, and each of the three may be done again: the ask has a key made of schedule and time.

Of several daemons on one database one has the clock, by a lock of the database; when it dies, another takes it.
"""

from __future__ import annotations

import logging
import os
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger

from deployd import logs
from deployd.domain.due import Due, due
from deployd.domain.events import Event
from deployd.rollouts.gates import why_frozen
from deployd.rollouts.steps import checkpoint
from deployd.rollouts.timing import ask_of, why_not_back
from deployd.store.moments import text_of

if TYPE_CHECKING:
    from apscheduler.job import Job

    from deployd.daemon.hub import Told
    from deployd.daemon.wiring import Daemon
    from deployd.domain.daemon import QueuedAsk
    from deployd.domain.schedule import Schedule

LOOK_EVERY = 10.0
"""Seconds between two looks at the table: a second terminal, or a rollout, may have written to it."""
_SHARED_EVERY = 2.0  # seconds, where another daemon may have written to it, or have died with the clock
_LOCK = "clock"


class Clock:
    """A part of the daemon. `wake` after a change of the schedules."""

    name = "clock"

    def __init__(self) -> None:
        self._daemon: Daemon | None = None
        self._scheduler: Any = None
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # who fires
        self._log = logs.logger("clock")

    def start(self, daemon: Daemon) -> None:
        """Make the timer's jobs again from the table; what was missed is done or skipped at once."""
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._daemon = daemon
        daemon.dispatcher.gates.append(self._gate)
        daemon.hub.listeners.append(self._hear)
        if daemon.store.database.shared:
            daemon.leads = self.is_ours
        if self._take():
            self._begin()
        threading.Thread(target=self._loop, daemon=True, name="clock").start()

    def is_ours(self) -> bool:
        """Whether this process has the clock: it alone fires, and does what is done once for all daemons."""
        presence = self._running.store.presence
        return presence is None or presence.holds(_LOCK)

    def _take(self) -> bool:
        """Have the clock, if no other daemon has it."""
        presence = self._running.store.presence
        if presence is None or presence.holds(_LOCK):
            return True
        presence.free(_LOCK)  # it was lost with a session that broke
        taken = presence.take(_LOCK, {"command": "deployd serve", "pid": os.getpid()})
        if taken:
            self._log.info("clock_taken")
        return taken

    def _begin(self) -> None:
        """Make the timer's jobs again from the table; what was missed is done or skipped at once."""
        daemon = self._running
        self._scheduler = BackgroundScheduler(
            jobstores={"default": SQLAlchemyJobStore(engine=daemon.store.database.engine)},
            executors={"default": _Here(self)},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
            timezone=UTC,
        )
        self._scheduler.start(paused=True)
        self._scheduler.remove_all_jobs()
        self._look()
        self._scheduler.resume()

    def _end(self) -> None:
        """The clock is another's now."""
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None and scheduler.running:
            scheduler.shutdown(wait=False)
            self._log.warning("clock_lost")

    def stop(self) -> None:
        """Fire nothing more."""
        self._stopping.set()
        self._woken.set()
        if self._scheduler is not None and self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        if self._daemon is not None and (presence := self._daemon.store.presence) is not None:
            presence.free(_LOCK)

    def wake(self) -> None:
        """The schedules have changed: look at the table now."""
        self._woken.set()

    def fire(self, schedule: str) -> None:
        """Do what is due of a schedule, and set the timer for its next run. From any thread; twice is once."""
        if self._stopping.is_set() or not self.is_ours():
            return
        timer = self._fire(schedule)  # set without our lock: the scheduler holds its own one when it calls us
        if timer:
            self._set_timer(*timer)

    def _fire(self, schedule: str) -> tuple[Schedule, datetime] | None:
        """Do what is due; returns the schedule and its next run."""
        store = self._running.store
        with self._lock:
            found = store.schedules.find(schedule)
            decided = due(found, datetime.now(UTC)) if found else None
            if found is None or decided is None:
                return None
            if decided.action == "wait":
                return found, decided.planned
            if not store.schedules.begin(found.id, decided.planned):
                return None  # cancelled or confirmed in this very moment
            checkpoint("before", "fire")
            self._finish(found, decided)
            checkpoint("after", "fire")
            return (found, decided.next_at) if decided.next_at else None

    @property
    def _running(self) -> Daemon:
        if self._daemon is None:
            msg = "the clock was not started"
            raise RuntimeError(msg)
        return self._daemon

    def _finish(self, schedule: Schedule, decided: Due) -> None:
        daemon, store = self._running, self._running.store
        log = self._log.bind(schedule=schedule.id, app=schedule.app, environment=schedule.environment)
        dropped = why_not_back(store, schedule) if schedule.purpose == "unconfirmed" else None
        if decided.action == "skip" or dropped:
            why = dropped or decided.why
            store.schedules.end_run(
                schedule, decided.planned, "dropped" if dropped else "skipped", next_at=decided.next_at, why=why
            )
            log.warning("schedule_not_run", planned=text_of(decided.planned), why=why)
            store.audit.add(
                who="deployd",
                origin="clock",
                action="schedule",
                app=schedule.app,
                environment=schedule.environment,
                subject=schedule.id,
                outcome="dropped" if dropped else "skipped",
                details={"planned": text_of(decided.planned), "why": why},
            )
            return
        ask = ask_of(schedule, decided.planned)
        rollout, fresh = daemon.ask(ask, wish=schedule.wish, origin="clock")
        checkpoint("done", "fire")
        store.schedules.end_run(
            schedule, decided.planned, "asked", next_at=decided.next_at, key=ask.key, why=decided.why
        )
        log.info("schedule_ran", planned=text_of(decided.planned), rollout=rollout, again=not fresh, late=decided.why)

    # the timer

    def _loop(self) -> None:
        every = _SHARED_EVERY if self._running.store.database.shared else LOOK_EVERY
        while not self._stopping.is_set():
            self._woken.wait(every)
            self._woken.clear()
            if self._stopping.is_set():
                return
            try:
                if not self._take():
                    self._end()
                elif self._scheduler is None:
                    self._begin()
                else:
                    self._look()
            except Exception:  # noqa: BLE001 - a full disk must not end the clock
                self._log.exception("clock_failed")

    def _look(self) -> None:
        """Have a timer for every run that is to come, and do what is due already."""
        store = self._running.store
        for approval in store.approvals.expire():
            self._log.warning("approval_expired", rollout=approval.rollout, release=approval.release)
        moment = datetime.now(UTC)
        for schedule in store.schedules.active():
            decided = due(schedule, moment)
            if decided is None:
                continue
            if decided.action == "wait":
                self._set_timer(schedule, decided.planned)
            else:
                self.fire(schedule.id)

    def _set_timer(self, schedule: Schedule, at: datetime) -> None:
        if self._stopping.is_set() or self._scheduler is None:
            return
        job = f"{schedule.id}@{text_of(at)}"
        if self._scheduler.get_job(job) is None:
            self._scheduler.add_job(
                _never, DateTrigger(run_date=at), args=[schedule.id], id=job, name=schedule.kind, replace_existing=True
            )

    def _hear(self, told: Told) -> None:
        """A rollout armed its way back: know it now, and not at the next look."""
        if told.event == Event.CONFIRMATION_WANTED:
            self.wake()

    def _gate(self, queued: QueuedAsk) -> str | None:
        """Why an automatic ask must wait: a freeze."""
        return why_frozen(self._running.store, queued.ask.app, queued.ask.environment)


class _Here(BaseExecutor):  # type: ignore[misc]
    """Runs jobs in the scheduler's own thread: they are done when the scheduler forgets them."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def _do_submit_job(self, job: Job, _run_times: list[datetime]) -> None:
        try:
            self._clock.fire(job.args[0])
        except Exception:  # noqa: BLE001 - the row is still there: the next look fires it
            logs.logger("clock").exception("schedule_failed", schedule=job.args[0])
        finally:
            self._run_job_success(job.id, [])


def _never(_schedule: str) -> None:
    """What a job names as its function; the executor above does the work."""
