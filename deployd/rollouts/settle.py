"""Settles what dead processes left: an unfinished rollout comes in; it is finished, turned back or left alone.

`recovery.py` decides; this does it, under the app's lock.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from deployd.domain.events import Event
from deployd.errors import DeploydError, NotFoundError
from deployd.rollouts import locks
from deployd.rollouts.conduct import close_untouched, conduct
from deployd.rollouts.moving import move_here
from deployd.rollouts.recovery import Decision, decide, successor
from deployd.rollouts.states import State
from deployd.rollouts.wishes import RolloutResult, wish_from_json

if TYPE_CHECKING:
    from deployd.domain.events import Report
    from deployd.domain.ids import AppName, EnvironmentName, RolloutId
    from deployd.domain.rollout import RolloutRecord
    from deployd.rollouts.workshop import Workshop


def resume(
    workshop: Workshop,
    *,
    report: Report,
    cancel: threading.Event,
    app: AppName | None = None,
    environment: EnvironmentName | None = None,
) -> list[RolloutResult]:
    """Finish or turn back every rollout (of an app and environment) whose process is gone, oldest first."""
    results: list[RolloutResult] = []
    held = locks.held_by(who=workshop.who, command=workshop.command or "deployd resume")
    with workshop.folder_lock() as folder:
        if not folder.take(held):
            raise folder.busy("deployd on this machine")
        workshop.own_folder()
        for record in workshop.store.rollouts.unfinished(app, environment):
            if workshop.lives(record):
                continue
            workshop.start_engine()
            with workshop.app_lock(record.app, record.environment) as place:
                if not place.take(held):
                    continue
                fresh = workshop.store.rollouts.find(record.id)  # another daemon may have settled it meanwhile
                if fresh is None or fresh.finished is not None or workshop.lives(fresh):
                    continue
                try:
                    result = settle(workshop, fresh, report=report, cancel=cancel)
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
    decision = decide(record, later=later, alive=workshop.lives(record))
    if decision is Decision.LEAVE:
        return None
    if decision is Decision.TURN_BACK and not record.cancel_requested:
        next_one = successor(later)
        store.rollouts.ask_to_stop(record.id, who=workshop.who, superseded_by=next_one.id if next_one else None)
    workshop.begin(record.id)
    try:
        return _settle(workshop, record, report=report, cancel=cancel)
    finally:
        workshop.end(record.id)


def _settle(workshop: Workshop, record: RolloutRecord, *, report: Report, cancel: threading.Event) -> RolloutResult:
    store, wish = workshop.store, wish_from_json(record.wish)
    if not record.cancel_requested and not store.rollouts.stop_request(record.id).cancelled_by:
        move_here(workshop, record, report=report)
    store.rollouts.set_owner(record.id, locks.own_name(store))
    try:
        made = workshop.pool(wish)
    except NotFoundError as error:
        if record.touched:
            raise
        return close_untouched(workshop, record, error)
    with made as pool:
        try:
            return conduct(workshop, wish, record.id, pool=pool, report=report, cancel=cancel, resumed=True)
        except DeploydError:
            kept = store.rollouts.get(record.id)
            if kept.result is None:
                raise
            return RolloutResult.from_json(kept.result)


def supersede(workshop: Workshop, record: RolloutRecord, *, by: RolloutId, report: Report) -> None:
    """A newer release takes the place of one whose process is gone; a rollback that was cut off is finished first."""
    if record.kind != "rollback" and record.state != State.FINISHING:
        workshop.store.rollouts.ask_to_stop(record.id, who=workshop.who, superseded_by=by)
    settled = workshop.store.rollouts.get(record.id)
    report(Event.WARNING, what=f"rollout {record.id} was left by a process that is gone; it is settled first")
    if record.kind == "rollback":
        _finish_rollback(workshop, settled, report=report)
        return
    settle(workshop, settled, report=report, cancel=threading.Event())


def settle_quietly(workshop: Workshop, record: RolloutRecord, *, report: Report) -> None:
    """Settle one; a failure is a warning, because something more important has just been done."""
    try:
        settle(workshop, record, report=report, cancel=threading.Event())
    except DeploydError as error:
        report(
            Event.WARNING,
            what=f"what rollout {record.id} left could not be cleared away: {error.what}",
            code=error.code,
            fix="deployd resume",
        )


def _finish_rollback(workshop: Workshop, record: RolloutRecord, *, report: Report) -> None:
    wish = wish_from_json(record.wish)
    workshop.store.rollouts.set_owner(record.id, locks.own_name(workshop.store))
    with workshop.pool(wish) as pool:
        try:
            conduct(workshop, wish, record.id, pool=pool, report=report, cancel=threading.Event(), resumed=True)
        except DeploydError as error:
            report(Event.WARNING, what=f"rollback {record.id} could not be finished: {error.what}", code=error.code)
