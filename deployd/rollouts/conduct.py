"""Runs one rollout's recipe to its end: a wish and its id come in, the result goes out, or its error is raised."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any

from deployd.domain.events import Event
from deployd.domain.ids import RolloutId
from deployd.errors import DeploydError
from deployd.rollouts import locks, values
from deployd.rollouts.closing import outcome_of
from deployd.rollouts.control import Control
from deployd.rollouts.leases import Leases
from deployd.rollouts.recorder import Recorder
from deployd.rollouts.rollout import Rollout
from deployd.rollouts.runner import Runner
from deployd.rollouts.states import CANCELLABLE, State
from deployd.rollouts.wishes import ActivateWish, RollbackWish, RolloutResult, kind_of, wish_to_json

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from deployd.domain.events import Report
    from deployd.domain.rollout import RolloutRecord
    from deployd.hosts.pool import Pool
    from deployd.rollouts.values import Json
    from deployd.rollouts.wishes import Wish
    from deployd.rollouts.workshop import Workshop


def add(workshop: Workshop, wish: Wish, rollout: RolloutId | None = None) -> RolloutId:
    """Keep a new rollout, waiting, under an id that was given out before or a new one."""
    rollout = rollout or RolloutId.new()
    workshop.begin(rollout)
    workshop.store.rollouts.add(
        rollout,
        kind=kind_of(wish),
        app=wish.app,
        environment=wish.environment,
        state=State.WAITING,
        who=workshop.who,
        owner=locks.own_name(workshop.store),
        wish=wish_to_json(wish),
    )
    return rollout


def conduct(
    workshop: Workshop,
    wish: Wish,
    rollout_id: RolloutId,
    *,
    pool: Pool,
    report: Report,
    cancel: threading.Event,
    leases: Leases | None = None,
    durable: bool = True,
    resumed: bool = False,
) -> RolloutResult:
    """Run a recipe to its end, and turn what it kept into a result or an error. `leases` may be held already."""
    rollout = _wire(workshop, wish, rollout_id, pool=pool, report=report, cancel=cancel, leases=leases, resumed=resumed)
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
        done = _durably(workshop, rollout, recipe) if durable and workshop.durable else recipe(Runner(rollout), rollout)
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
    leases: Leases | None,
    resumed: bool,
) -> Rollout:
    recorder = Recorder(rollout, store=workshop.store, report=report, resumed=resumed)
    return Rollout(
        id=rollout,
        wish=wish,
        who=workshop.who,
        attempt=f"{os.getpid()}-{secrets.token_hex(3)}",
        resumed=resumed,
        paths=workshop.paths,
        store=workshop.store,
        pool_of=workshop.pool_of,
        builds=workshop.builds,
        owner=locks.own_name(workshop.store) if workshop.store.database.shared else None,
        pool=pool,
        leases=leases or Leases(pool, app=wish.app, environment=wish.environment, who=workshop.who, rollout=rollout),
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
    elif isinstance(wish, ActivateWish):
        from deployd.rollouts.activate import activate as recipe
    else:
        from deployd.rollouts.release import release as recipe
    return recipe


def close_unless_begun(workshop: Workshop, rollout: RolloutId, error: Exception) -> None:
    """A rollout that failed before its recipe began is closed here; one that lost its engine is left to `resume`."""
    record = workshop.store.rollouts.get(rollout)
    if record.finished is None and State(record.state) is State.WAITING:
        told = error if isinstance(error, DeploydError) else DeploydError(str(error), code="internal", fix="report it")
        close_untouched(workshop, record, told)


def close_untouched(workshop: Workshop, record: RolloutRecord, error: DeploydError) -> RolloutResult:
    """Close a rollout that touched no host."""
    outcome = outcome_of(error)
    result = ended(record.id, record.release, outcome=outcome)
    workshop.store.rollouts.finish(
        record.id, state=State(outcome), outcome=outcome, result=result.to_json(), error=values.error_to_json(error)
    )
    return result


def ended(rollout: RolloutId, release_id: Any, *, outcome: Any) -> RolloutResult:
    """The result of a rollout that was closed without its recipe."""
    return RolloutResult(
        rollout=rollout, release=release_id, outcome=outcome, previous=None, duration_s=0.0, flip_s=None
    )
