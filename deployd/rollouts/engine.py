"""The only import of DBOS: a recipe comes in, its steps are kept in the database, its result goes out.

What was measured decides the settings. Our lock comes before DBOS, and the executor's id is this process's own: with
DBOS's default one a second launch would steal what the first one runs, and a release that was killed would be restarted
by itself and overtake the rollback made after it. So launch recovers nothing; `recovery.py` decides, then `resume`.
WAL is set before launch (DBOS does not), which leaves one sync for each step instead of four.

On PostgreSQL several processes launch it side by side. What one resumes goes through a queue to which it alone listens:
DBOS's own one is served by all of them, and another process knows nothing of the rollout.
"""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

from dbos import DBOS, DBOSConfig, SetWorkflowID, _scheduler, _workflow_commands

from deployd.domain.ids import RolloutId
from deployd.errors import DeploydError, EngineError
from deployd.rollouts.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.values import Json

    Recipe = Callable[[Runner, Rollout], Json]

APPLICATION_VERSION = "1"
"""A constant: DBOS's default is a hash of the source, and every upgrade would strand what is unfinished."""
_WORKFLOW = "deployd.rollout"
_AT_ONCE = 500
_CONNECTIONS = 10
_BUSY = 30.0
_POLLING = 1.0
_RESUMING = 2.0
_RESUMING_SOON = 0.1  # a command's own engine: somebody waits, and it ends soon
_SELDOM = 600.0
_FINAL = frozenset({"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})

_running: dict[str, tuple[Callable[[Rollout, Runner], Json], Rollout]] = {}


class Durable(Runner):
    """Runs steps, and DBOS keeps their results."""

    def keep(self, name: str, body: Callable[[], Json]) -> Json:
        """Run `body` once; after a crash its kept result comes back instead."""
        return DBOS.run_step({"name": name}, body)

    def is_new(self, name: str) -> bool:
        """Whether the history of this rollout has, or may still get, the steps of that change."""
        return DBOS.patch(name)


@DBOS.workflow(name=_WORKFLOW)
def _workflow(rollout_id: str) -> Json:
    """One rollout. What it works with is this process's own, and is found by its id."""
    recipe, rollout = _running[rollout_id]
    return recipe(rollout, Durable(rollout))


class Engine:
    """DBOS, launched. At most one in a process; the caller holds the state folder's lock."""

    def __init__(self, database: Path | str, *, queue: str | None = None, lives_long: bool = True) -> None:
        """`database`: the SQLite file, or the address of a PostgreSQL database; then `queue` names this state folder's
        own queue. One that `lives_long` looks seldom for what is to be resumed.
        """
        if not isinstance(database, str):
            _set_wal(database)
        _hush()
        self._queue = queue
        config: DBOSConfig = {
            "name": "deployd",
            "system_database_url": database if isinstance(database, str) else f"sqlite:///{database}",
            "executor_id": f"{os.getpid()}-{secrets.token_hex(4)}",
            "application_version": APPLICATION_VERSION,
            "enable_otlp": False,
            "log_level": "CRITICAL",
            "max_executor_threads": 8,
            # nothing here uses DBOS's schedules and messages: its looks for them, one a second each, are idle work
            "scheduler_polling_interval_sec": _SELDOM,
            "notification_listener_polling_interval_sec": _SELDOM,
        }
        if isinstance(database, str):
            config["sys_db_pool_size"] = _CONNECTIONS
        _workflow_commands._BACKGROUND_JOBS_INTERVAL_SEC = _SELDOM  # noqa: SLF001 - delays and time-outs of DBOS's own
        _scheduler._STARTUP_FAST_POLL_DURATION_SEC = 0.0  # noqa: SLF001 - the same looks, each second for a minute
        dbos = DBOS(config=config)
        # what is resumed after a start comes by this queue, or by our own one where there are several daemons
        own = dbos._registry.get_internal_queue()  # noqa: SLF001
        resuming = _RESUMING if lives_long else _RESUMING_SOON
        own._polling_interval_sec = resuming if queue is None else _SELDOM  # noqa: SLF001
        if queue is not None:
            DBOS.listen_queues([queue])
        try:
            DBOS.launch()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the database's
            raise EngineError(
                f"the engine could not start on the database: {type(error).__name__}: {str(error).splitlines()[0]}",
                code="engine-not-started",
                fix="its user must own the database: the engine keeps its steps in a schema `dbos`, which it makes",
            ) from None
        if queue is not None:
            DBOS.register_queue(queue, polling_interval_sec=_POLLING, on_conflict="never_update")

    def run(self, rollout: Rollout, recipe: Recipe) -> Json:
        """Run a rollout to its end: a new one from its start, one that a process left from where it was."""
        _running[str(rollout.id)] = (lambda given, runner: recipe(runner, given), rollout)
        try:
            return self._begin(rollout.id)
        finally:
            _running.pop(str(rollout.id), None)

    def _begin(self, rollout: RolloutId) -> Json:
        found = DBOS.get_workflow_status(str(rollout))
        try:
            if found is None:
                with SetWorkflowID(str(rollout)):
                    result: Json = DBOS.start_workflow(_workflow, str(rollout)).get_result()
                return result
            if found.status not in _FINAL:
                DBOS.resume_workflow(str(rollout), queue_name=self._queue)  # polled
            kept: Json = DBOS.retrieve_workflow(str(rollout)).get_result(polling_interval_sec=0.05)
        except DeploydError:
            raise
        except Exception as error:
            raise EngineError(
                f"the engine lost rollout {rollout}: {type(error).__name__}: {error}",
                fix="see `deployd status`; then release or roll back again",
            ) from error
        return kept

    def kept_before(self, moment: str) -> tuple[RolloutId, ...]:
        """The rollouts whose steps are kept here and that were begun before `moment`, some hundreds at most."""
        found = DBOS.list_workflows(
            end_time=moment, name=_WORKFLOW, limit=_AT_ONCE, load_input=False, load_output=False
        )
        return tuple(RolloutId(one.workflow_id) for one in found)

    def forget(self, rollouts: Sequence[RolloutId]) -> None:
        """Remove the kept steps of rollouts that are over; one that came again under its id would run again."""
        if rollouts:
            DBOS.delete_workflows([str(one) for one in rollouts], delete_children=True)

    def close(self) -> None:
        """End DBOS. Not needed by who leaves by os._exit, and slow: it waits for its threads."""
        DBOS.destroy(workflow_completion_timeout_sec=0)


def _set_wal(database: Path) -> None:
    """Set it, if it is not set: SQLite's own busy time-out does not hold for this one."""
    deadline = time.monotonic() + _BUSY
    with closing(sqlite3.connect(database, timeout=_BUSY)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return


def _hush() -> None:
    """DBOS tells its life on stderr; ours is told by events."""
    for name in ("dbos", "dbos.console"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
