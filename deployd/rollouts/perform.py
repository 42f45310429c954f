"""Wires one rollout and runs it: a wish comes in, its result goes out, or the error of how it ended is raised.

Locks first (the state folder's, then the app's), then whatever a dead process left of this app, then the rollout. A
rollback does not wait: it tells what runs to turn back, and takes over from a process that does not answer.
"""

from __future__ import annotations

import importlib
import os
import secrets
import threading
from typing import TYPE_CHECKING, Any

from deployd.domain.events import Event
from deployd.domain.ids import RolloutId
from deployd.errors import DeploydError, NotFoundError
from deployd.rollouts import locks, values
from deployd.rollouts.closing import outcome_of
from deployd.rollouts.control import Control
from deployd.rollouts.leases import Leases
from deployd.rollouts.recorder import Recorder
from deployd.rollouts.recovery import Decision, decide, successor
from deployd.rollouts.rollout import Rollout
from deployd.rollouts.runner import Runner
from deployd.rollouts.states import CANCELLABLE, State
from deployd.rollouts.wishes import (
    RollbackWish,
    RolloutResult,
    kind_of,
    wish_from_json,
    wish_to_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployd.domain.events import Report
    from deployd.domain.host import Host
    from deployd.domain.rollout import RolloutRecord
    from deployd.hosts.pool import Pool
    from deployd.paths import StatePaths
    from deployd.rollouts.values import Json
    from deployd.rollouts.wishes import PromoteWish, ReleaseWish, Wish
    from deployd.store import Store

_LETS_GO = 0.5  # between the two locks of a process that ends
TAKE_OVER_AFTER = 20.0
"""How long a rollback waits for the release that it cancelled to turn back, in seconds."""


class Workshop:
    """All that rollouts of one process share. `connect` makes the pool of some hosts; tests pass their own."""

    def __init__(
        self,
        paths: StatePaths,
        store: Store,
        *,
        who: str,
        command: str | None = None,
        connect: Callable[[Sequence[Host]], Pool] | None = None,
    ) -> None:
        self.paths = paths
        self.store = store
        self.who = who
        self.command = command
        self._connect = connect
        self._engine: Any = None
        self._starting: _Starting | None = None

    def pool(self, wish: Wish) -> Pool:
        """The hosts of a wish, not connected yet. Raises NotFoundError."""
        hosts = self.store.hosts.some(wish.hosts)
        if self._connect:
            return self._connect(hosts)
        from deployd.hosts.pool import Pool

        return Pool(hosts, paths=self.paths)

    def start_engine(self, *, resumes: bool) -> None:
        """Begin to import and launch DBOS in a thread: the hosts are connected meanwhile. Needs the folder's lock."""
        if self._engine is None and self._starting is None:
            self._starting = _Starting(self.paths, resumes=resumes)

    @property
    def engine(self) -> Any:
        """The engine."""
        if self._starting:
            self._engine, self._starting = self._starting.get(), None
        return self._engine

    def close(self) -> None:
        """End the engine, for who goes on living (tests; the command line leaves by os._exit)."""
        if self._engine or self._starting:
            self.engine.close()
        self._engine = None


def release(
    workshop: Workshop, wish: ReleaseWish | PromoteWish, *, report: Report, cancel: threading.Event
) -> RolloutResult:
    """Bring a release live (or prepared)."""
    kind = kind_of(wish)
    held = locks.held_by(
        who=workshop.who,
        command=workshop.command or f"deployd {kind} ({wish.app} {wish.environment})",
        app=wish.app,
        environment=wish.environment,
    )
    with (
        workshop.pool(wish) as pool,
        locks.folder_lock(workshop.paths) as folder,
        locks.app_lock(workshop.paths, wish.app, wish.environment) as app,
    ):
        if not folder.take(held):
            raise folder.busy("deployd on this machine")
        if not app.take(held):
            raise app.busy(f"{wish.app} {wish.environment}")
        left = workshop.store.rollouts.unfinished(wish.app, wish.environment)
        workshop.start_engine(resumes=bool(left))
        connecting = _connect_early(pool, shipping=True)
        rollout = _add(workshop, wish)
        try:
            for record in left:
                _supersede(workshop, record, by=rollout, report=report)
            connecting.join()
            return _conduct(workshop, wish, rollout, pool=pool, report=report, cancel=cancel)
        except Exception as error:
            _close_unless_begun(workshop, rollout, error)
            raise


def rollback(workshop: Workshop, wish: RollbackWish, *, report: Report, cancel: threading.Event) -> RolloutResult:
    """Go back. Whatever runs for the same app and environment is told to turn back, and taken over from if it hangs."""
    store, where = workshop.store, (wish.app, wish.environment)
    held = locks.held_by(
        who=workshop.who,
        command=workshop.command or f"deployd rollback ({wish.app} {wish.environment})",
        app=wish.app,
        environment=wish.environment,
    )
    with (
        workshop.pool(wish) as pool,
        locks.folder_lock(workshop.paths) as folder,
        locks.app_lock(workshop.paths, *where) as app,
    ):
        left = store.rollouts.unfinished(*where)
        owns_folder = folder.take(held)
        if owns_folder:
            workshop.start_engine(resumes=bool(left))
        connecting = _connect_early(pool, shipping=False)
        rollout = _add(workshop, wish)
        try:
            for record in left:
                store.rollouts.ask_to_stop(record.id, who=workshop.who, superseded_by=rollout)
            if not _take_app(app, held, wish=wish, report=report):
                _take_over(workshop, left, by=rollout, pool=pool, wish=wish, report=report)
            elif not owns_folder and folder.take(held, wait=_LETS_GO):
                owns_folder = True
                workshop.start_engine(resumes=bool(left))
            connecting.join()
            return _conduct(workshop, wish, rollout, pool=pool, report=report, cancel=cancel, durable=owns_folder)
        except Exception as error:
            _close_unless_begun(workshop, rollout, error)
            raise
        finally:
            # only now: the fleet is where it should be, and what the dead ones left can be cleared away
            for record in store.rollouts.unfinished(*where) if owns_folder and left else ():
                if record.id != rollout:
                    _settle_quietly(workshop, record, report=report)


def resume(workshop: Workshop, *, report: Report, cancel: threading.Event) -> list[RolloutResult]:
    """Finish or turn back every rollout whose process is gone, oldest first."""
    results: list[RolloutResult] = []
    held = locks.held_by(who=workshop.who, command=workshop.command or "deployd resume")
    with locks.folder_lock(workshop.paths) as folder:
        if not folder.take(held):
            raise folder.busy("deployd on this machine")
        for record in workshop.store.rollouts.unfinished():
            workshop.start_engine(resumes=True)
            with locks.app_lock(workshop.paths, record.app, record.environment) as app:
                if not app.take(held):
                    continue
                try:
                    result = settle(workshop, record, report=report, cancel=cancel)
                except DeploydError as error:
                    what = f"rollout {record.id} could not be settled: {error.what}"
                    report(Event.WARNING, what=what, host=error.host, code=error.code, fix=error.fix)
                    continue
                results += [result] if result else []
    return results


def settle(
    workshop: Workshop, record: RolloutRecord, *, report: Report, cancel: threading.Event
) -> RolloutResult | None:
    """Decide about one unfinished rollout and do it; the app's lock is held. None when it was left alone."""
    store = workshop.store
    later = store.rollouts.after(record.id)
    decision = decide(record, later=later, alive=locks.is_alive(record.owner))
    if decision is Decision.LEAVE:
        return None
    if decision is Decision.TURN_BACK and not record.cancel_requested:
        next_one = successor(later)
        store.rollouts.ask_to_stop(record.id, who=workshop.who, superseded_by=next_one.id if next_one else None)
    wish = wish_from_json(record.wish)
    store.rollouts.set_owner(record.id, locks.own_name())
    try:
        made = workshop.pool(wish)
    except NotFoundError as error:
        if record.touched:
            raise
        return _finish_untouched(workshop, record, error)
    with made as pool:
        try:
            return _conduct(workshop, wish, record.id, pool=pool, report=report, cancel=cancel, resumed=True)
        except DeploydError:
            kept = store.rollouts.get(record.id)
            if kept.result is None:
                raise
            return RolloutResult.from_json(kept.result)


def _conduct(
    workshop: Workshop,
    wish: Wish,
    rollout_id: RolloutId,
    *,
    pool: Pool,
    report: Report,
    cancel: threading.Event,
    durable: bool = True,
    resumed: bool = False,
) -> RolloutResult:
    """Run a recipe to its end, and turn what it kept into a result or an error."""
    rollout = _wire(workshop, wish, rollout_id, pool=pool, report=report, cancel=cancel)
    rollout.control.watch()
    rollout.report(
        Event.ROLLOUT_STARTED,
        kind=kind_of(wish),
        app=wish.app,
        environment=wish.environment,
        hosts=list(wish.hosts),
        who=workshop.who,
        resumed=resumed,
    )
    try:
        recipe = _recipe(wish)
        done = _durably(workshop, rollout, recipe) if durable else recipe(Runner(rollout), rollout)
    finally:
        rollout.control.end()
        rollout.leases.close()
        rollout.recorder.flush()
    if done["error"]:
        raise values.error_from_json(done["error"])
    return RolloutResult.from_json(done["result"])


def _durably(workshop: Workshop, rollout: Rollout, recipe: Callable[[Runner, Rollout], Json]) -> Json:
    """Run a recipe in the engine. When the engine loses it, it is turned back without: hosts must not stay mixed."""
    try:
        done: Json = workshop.engine.run(rollout, recipe)
        return done
    except DeploydError as error:
        if error.code != "engine-failed":
            raise
        record = workshop.store.rollouts.get(rollout.id)
        if record.finished or State(record.state) not in CANCELLABLE | {State.TURNING_BACK}:
            raise
        from deployd.rollouts.fleet import previous_of
        from deployd.rollouts.turnback import turn_back

        previous = previous_of(record.intent) if record.intent is not None else None
        return turn_back(Runner(rollout), rollout, error, release=record.release, previous=previous)


def _wire(
    workshop: Workshop,
    wish: Wish,
    rollout: RolloutId,
    *,
    pool: Pool,
    report: Report,
    cancel: threading.Event,
) -> Rollout:
    recorder = Recorder(rollout, store=workshop.store, report=report)
    return Rollout(
        id=rollout,
        wish=wish,
        who=workshop.who,
        attempt=f"{os.getpid()}-{secrets.token_hex(3)}",
        paths=workshop.paths,
        store=workshop.store,
        pool=pool,
        leases=Leases(pool, app=wish.app, environment=wish.environment, who=workshop.who, rollout=rollout),
        recorder=recorder,
        control=Control(
            rollout,
            store=workshop.store,
            who=workshop.who,
            outside=cancel,
            report=recorder,
            timeout=getattr(wish, "timeout", None),
        ),
    )


def _recipe(wish: Wish) -> Callable[[Runner, Rollout], Json]:
    # late: the recipe of a release imports every stage
    if isinstance(wish, RollbackWish):
        from deployd.rollouts.rollback import rollback as recipe
    else:
        from deployd.rollouts.release import release as recipe
    return recipe


def _add(workshop: Workshop, wish: Wish) -> RolloutId:
    rollout = RolloutId.new()
    workshop.store.rollouts.add(
        rollout,
        kind=kind_of(wish),
        app=wish.app,
        environment=wish.environment,
        state=State.WAITING,
        who=workshop.who,
        owner=locks.own_name(),
        wish=wish_to_json(wish),
    )
    return rollout


def _supersede(workshop: Workshop, record: RolloutRecord, *, by: RolloutId, report: Report) -> None:
    """A newer release takes the place of one whose process is gone; a rollback that was cut off is finished first."""
    if record.kind != "rollback" and record.state != State.FINISHING:
        workshop.store.rollouts.ask_to_stop(record.id, who=workshop.who, superseded_by=by)
    settled = workshop.store.rollouts.get(record.id)
    report(Event.WARNING, what=f"rollout {record.id} was left by a process that is gone; it is settled first")
    if record.kind == "rollback":
        _finish_rollback(workshop, settled, report=report)
        return
    settle(workshop, settled, report=report, cancel=threading.Event())


def _finish_rollback(workshop: Workshop, record: RolloutRecord, *, report: Report) -> None:
    wish = wish_from_json(record.wish)
    workshop.store.rollouts.set_owner(record.id, locks.own_name())
    with workshop.pool(wish) as pool:
        try:
            _conduct(workshop, wish, record.id, pool=pool, report=report, cancel=threading.Event(), resumed=True)
        except DeploydError as error:
            report(Event.WARNING, what=f"rollback {record.id} could not be finished: {error.what}", code=error.code)


def _settle_quietly(workshop: Workshop, record: RolloutRecord, *, report: Report) -> None:
    try:
        settle(workshop, record, report=report, cancel=threading.Event())
    except DeploydError as error:
        report(
            Event.WARNING,
            what=f"what rollout {record.id} left could not be cleared away: {error.what}",
            code=error.code,
            fix="deployd resume",
        )


def _take_app(app: locks.FileLock, held: locks.Held, *, wish: RollbackWish, report: Report) -> bool:
    """Take the app's lock, waiting for the cancelled rollout to turn back, but not for ever."""
    if app.take(held):
        return True
    runs = app.holder().describe()
    report(Event.WARNING, what=f"{runs} runs for {wish.app} {wish.environment}; it is told to turn back")
    return app.take(held, wait=TAKE_OVER_AFTER)


def _take_over(
    workshop: Workshop,
    left: Sequence[RolloutRecord],
    *,
    by: RolloutId,
    pool: Pool,
    wish: RollbackWish,
    report: Report,
) -> None:
    """The other process hangs. End its rollouts here, and have every host refuse what it may still send."""
    store = workshop.store
    report(Event.WARNING, what=f"it did not turn back within {TAKE_OVER_AFTER:g} s; this rollback takes over")
    for record in left:
        error = DeploydError(f"rollout {by} took over", code="superseded", fix=f"see `deployd show {by}`")
        result = _ended(record.id, record.release, outcome="superseded")
        store.rollouts.ask_to_stop(record.id, who=workshop.who, superseded_by=by)
        store.rollouts.finish(
            record.id,
            state=State.SUPERSEDED,
            outcome="superseded",
            result=result.to_json(),
            error=values.error_to_json(error),
        )
    pool.each(wish.hosts, lambda helper: helper.unlock(wish.app, wish.environment))


def _close_unless_begun(workshop: Workshop, rollout: RolloutId, error: Exception) -> None:
    """A rollout that failed before its recipe began is closed here; one that lost its engine is left to `resume`."""
    record = workshop.store.rollouts.get(rollout)
    if record.finished is None and State(record.state) is State.WAITING:
        told = error if isinstance(error, DeploydError) else DeploydError(str(error), code="internal", fix="report it")
        _finish_untouched(workshop, record, told)


def _finish_untouched(workshop: Workshop, record: RolloutRecord, error: DeploydError) -> RolloutResult:
    outcome = outcome_of(error)
    result = _ended(record.id, record.release, outcome=outcome)
    workshop.store.rollouts.finish(
        record.id, state=State(outcome), outcome=outcome, result=result.to_json(), error=values.error_to_json(error)
    )
    return result


def _ended(rollout: RolloutId, release_id: Any, *, outcome: Any) -> RolloutResult:
    return RolloutResult(
        rollout=rollout, release=release_id, outcome=outcome, previous=None, duration_s=0.0, flip_s=None
    )


def _connect_early(pool: Pool, *, shipping: bool) -> threading.Thread:
    """Connect in the background; whoever needs a host later sees its error there."""
    thread = threading.Thread(target=pool.connect_all, kwargs={"shipping": shipping}, daemon=True, name="connect")
    thread.start()
    return thread


class _Starting:
    """An engine that is being imported and launched in a thread."""

    def __init__(self, paths: StatePaths, *, resumes: bool) -> None:
        self._made: list[Any] = []
        self._faults: list[BaseException] = []
        self._thread = threading.Thread(target=self._start, args=(paths,), kwargs={"resumes": resumes}, daemon=True)
        self._thread.start()

    def _start(self, paths: StatePaths, *, resumes: bool) -> None:
        try:
            engine = importlib.import_module("deployd.rollouts.engine")
            self._made.append(engine.Engine(paths.database, resumes=resumes))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            self._faults.append(error)

    def get(self) -> Any:
        self._thread.join()
        if self._faults:
            raise self._faults[0]
        return self._made[0]
