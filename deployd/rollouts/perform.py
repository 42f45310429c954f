"""A rollout from its wish: locks first, then what a dead process left of this app, then the rollout itself.

A rollback does not wait: it tells what runs to turn back, and takes over from a process that does not answer.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from deployd.domain.events import Event
from deployd.errors import BusyError, DeploydError
from deployd.rollouts import gates, locks, values
from deployd.rollouts.conduct import add, close_unless_begun, conduct, ended
from deployd.rollouts.leases import Leases
from deployd.rollouts.settle import settle_quietly, supersede
from deployd.rollouts.states import State
from deployd.rollouts.tidying import tidy
from deployd.rollouts.wishes import ReleaseWish, kind_of, wish_from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployd.domain.events import Report
    from deployd.domain.ids import RolloutId
    from deployd.domain.rollout import RolloutRecord
    from deployd.hosts.pool import Pool
    from deployd.rollouts.wishes import ActivateWish, PromoteWish, RollbackWish, RolloutResult
    from deployd.rollouts.workshop import Workshop

_LETS_GO = 0.5  # between the two locks of a process that ends
TAKE_OVER_AFTER = 20.0
"""How long a rollback waits for the release that it cancelled to turn back, in seconds."""


def release(
    workshop: Workshop,
    wish: ReleaseWish | PromoteWish | ActivateWish,
    *,
    report: Report,
    cancel: threading.Event,
    rollout: RolloutId | None = None,
) -> RolloutResult:
    """Bring a release live (or prepared); `rollout` is its id, when that was given out already."""
    kind = kind_of(wish)
    gates.refuse_frozen(workshop.store, wish.app, wish.environment, during_freeze=wish.during_freeze)
    held = locks.held_by(
        who=workshop.who,
        command=workshop.command or f"deployd {kind} ({wish.app} {wish.environment})",
        app=wish.app,
        environment=wish.environment,
    )
    with (
        workshop.pool(wish) as pool,
        workshop.folder_lock() as folder,
        workshop.app_lock(wish.app, wish.environment) as app,
    ):
        if not _own(workshop, folder, held):
            raise folder.busy("deployd on this machine")
        if not app.take(held):
            raise app.busy(f"{wish.app} {wish.environment}")
        left = workshop.store.rollouts.unfinished(wish.app, wish.environment)
        for record in left:
            if workshop.lives(record):  # its session with the database broke, and it goes on
                raise BusyError(
                    f"rollout {record.id} runs in another process ({record.owner})",
                    live="being changed by it",
                    fix=f"wait for it, or end it: deployd cancel {record.id}",
                    retryable=True,
                )
        workshop.start_engine()
        # what is built first begins rsync's connections with its build: before it they would only delay that
        builds = isinstance(wish, ReleaseWish) and wish.source is not None
        connecting = _connect_early(pool, shipping=not builds)
        rollout = add(workshop, wish, rollout)
        try:
            for record in left:
                supersede(workshop, record, by=rollout, report=report)
            connecting.join()
            result = conduct(workshop, wish, rollout, pool=pool, report=report, cancel=cancel)
        except Exception as error:
            close_unless_begun(workshop, rollout, error)
            raise
        finally:
            workshop.end(rollout)
        tidy(workshop, report=report)
        return result


def rollback(
    workshop: Workshop,
    wish: RollbackWish,
    *,
    report: Report,
    cancel: threading.Event,
    rollout: RolloutId | None = None,
) -> RolloutResult:
    """Go back. Whatever runs for the same app and environment is told to turn back, and taken over from if it hangs.

    A rollback is not checkpointed: choice and intent are in its row, all its steps may be done again, and the engine's
    import and start take longer than the rollback itself. `resume` begins a killed one anew, in the engine.
    """
    store, where = workshop.store, (wish.app, wish.environment)
    held = locks.held_by(
        who=workshop.who,
        command=workshop.command or f"deployd rollback ({wish.app} {wish.environment})",
        app=wish.app,
        environment=wish.environment,
    )
    with (
        workshop.pool(wish) as pool,
        workshop.folder_lock() as folder,
        workshop.app_lock(*where) as app,
    ):
        owns_folder = _own(workshop, folder, held)
        left = store.rollouts.unfinished(*where)
        _one_rollback_at_a_time(workshop, left)
        if owns_folder and left:
            workshop.start_engine()  # what the dead ones left is settled in it
        unfinished = _cut_off(left) if wish.release is None else None
        rollout = unfinished.id if unfinished else add(workshop, wish, rollout)
        workshop.begin(rollout)
        leases = Leases(pool, app=wish.app, environment=wish.environment, who=workshop.who, rollout=rollout)
        asking = _ask_early(pool, leases, wish)
        try:
            for record in left:
                if record.kind != "rollback":
                    store.rollouts.ask_to_stop(record.id, who=workshop.who, superseded_by=rollout)
            if not _take_app(app, held, wish=wish, report=report):
                _take_over(workshop, left, by=rollout, pool=pool, wish=wish, report=report)
            elif not owns_folder and folder.take(held, wait=_LETS_GO):
                owns_folder = True
            asking.join()
            if unfinished:
                store.rollouts.set_owner(rollout, locks.own_name(store))
            return conduct(
                workshop,
                wish_from_json(unfinished.wish) if unfinished else wish,
                rollout,
                pool=pool,
                leases=leases,
                report=report,
                cancel=cancel,
                durable=owns_folder and unfinished is not None,
                resumed=unfinished is not None,
            )
        except Exception as error:
            close_unless_begun(workshop, rollout, error)
            raise
        finally:
            leases.close()
            workshop.end(rollout)
            # only now: the fleet is where it should be, and what the dead ones left can be cleared away
            for record in store.rollouts.unfinished(*where) if owns_folder and left else ():
                if record.id != rollout:
                    settle_quietly(workshop, record, report=report)


def _own(workshop: Workshop, folder: locks.FileLock, held: locks.Held) -> bool:
    """Take the state folder's lock; who worked in it before is gone then."""
    taken = folder.take(held)
    if taken:
        workshop.own_folder()
    return taken


def _one_rollback_at_a_time(workshop: Workshop, left: Sequence[RolloutRecord]) -> None:
    for record in left:
        if record.kind == "rollback" and workshop.lives(record):
            raise BusyError(
                f"{record.who}'s rollback {record.id} runs already (process {str(record.owner).partition(':')[0]})",
                live="being changed by it",
                fix="wait a moment, then see `deployd status`",
                retryable=True,
            )


def _cut_off(left: Sequence[RolloutRecord]) -> RolloutRecord | None:
    """The rollback that was asked for last and whose process died: asking again means going on with it."""
    return left[-1] if left and left[-1].kind == "rollback" else None


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
        result = ended(record.id, record.release, outcome="superseded")
        store.rollouts.ask_to_stop(record.id, who=workshop.who, superseded_by=by)
        store.rollouts.finish(
            record.id,
            state=State.SUPERSEDED,
            outcome="superseded",
            result=result.to_json(),
            error=values.error_to_json(error),
        )
    pool.each(wish.hosts, lambda helper: helper.unlock(wish.app, wish.environment))


def _connect_early(pool: Pool, *, shipping: bool) -> threading.Thread:
    """Connect in the background; whoever needs a host later sees its error there."""
    return _in_background(lambda: pool.connect_all(shipping=shipping))


def _ask_early(pool: Pool, leases: Leases, wish: RollbackWish) -> threading.Thread:
    """Connect and take the hosts' locks while the engine is imported; those that another holds are taken later."""

    def ask() -> None:
        leases.hold(wish.hosts)
        pool.each(wish.hosts, lambda helper: helper.holder(wish.app, wish.environment))  # opens what serves the verbs

    return _in_background(ask)


def _in_background(do: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=do, daemon=True, name="early")
    thread.start()
    return thread
