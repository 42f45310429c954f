"""The end of a rollout: outcome and error come in; it is told, kept, and goes out as JSON."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployd.domain.events import Event
from deployd.domain.schedule import way_back_id
from deployd.errors import CancelledError, DeploydError, PartlyLiveError, SupersededError
from deployd.rollouts import values
from deployd.rollouts.states import State
from deployd.rollouts.steps import Step
from deployd.rollouts.wishes import RollbackWish, RolloutResult
from deployd.store import moments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.domain.ids import ReleaseId
    from deployd.rollouts.fleet import Previous
    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.runner import Runner
    from deployd.rollouts.values import Json
    from deployd.rollouts.wishes import Outcome


def close(
    run: Runner,
    rollout: Rollout,
    outcome: Outcome,
    *,
    release: ReleaseId,
    previous: Previous,
    flips: Sequence[Json] = (),
) -> Json:
    """Close a rollout that ended as asked. Returns `{"result", "error": None}`."""
    times = [at for flip in flips for at in flip["at"].values()]
    live = outcome == "live"
    hosts = [
        {"name": name, "release": release, "state": "live" if live else "prepared"}
        if live or outcome in {"prepared", "waiting"}
        else {"name": name, "release": before, "state": "live"}
        for name, before in previous.items()
    ]
    result: Json = {
        "rollout": rollout.id,
        "release": release,
        "outcome": outcome,
        "previous": _only(previous),
        "flip_s": round(max(times) - min(times), 6) if times else None,
        "hosts": hosts,
    }
    done: Json = run.sure(Step.CLOSE, _keep, rollout, result, None)
    return done


def close_with_error(
    run: Runner,
    rollout: Rollout,
    error: DeploydError,
    *,
    release: ReleaseId | None,
    previous: Previous | None,
    stuck: Sequence[str] = (),
) -> Json:
    """Close a rollout that did not end as asked. Returns `{"result", "error"}`."""
    outcome = outcome_of(error)
    hosts = [
        {"name": name, "release": None, "state": "unknown"}
        if name in stuck
        else {"name": name, "release": before, "state": "live" if before else "empty"}
        for name, before in (previous or {}).items()
    ]
    result: Json = {
        "rollout": rollout.id,
        "release": release,
        "outcome": outcome,
        "previous": _only(previous or {}),
        "flip_s": None,
        "hosts": hosts,
    }
    done: Json = run.sure(Step.CLOSE, _keep, rollout, result, values.error_to_json(error))
    return done


def outcome_of(error: DeploydError) -> Outcome:
    """The outcome that an error means."""
    if isinstance(error, PartlyLiveError):
        return "partly_live"
    if isinstance(error, SupersededError):
        return "superseded"
    return "cancelled" if isinstance(error, CancelledError) else "failed"


def _keep(rollout: Rollout, result: Json, error: Json | None) -> Json:
    created = moments.parse(rollout.store.rollouts.get(rollout.id).created)
    result = {**result, "duration_s": round((datetime.now(UTC) - created).total_seconds(), 3)}
    parsed = RolloutResult.from_json(result)
    told = {**parsed.to_json(), "error": _told(error)} if error else parsed.to_json()
    rollout.control.end()  # a wish to cancel that comes now is too late, and no event may come after this one
    rollout.report(Event.ROLLOUT_FINISHED, **told)
    rollout.recorder.flush()
    if parsed.outcome != "live":
        rollout.store.schedules.end(way_back_id(rollout.id), "cancelled", who="deployd")
    state = State.PREPARED if parsed.outcome == "waiting" else State(parsed.outcome)
    rollout.store.rollouts.finish(rollout.id, state=state, outcome=parsed.outcome, result=parsed.to_json(), error=error)
    if not isinstance(rollout.wish, RollbackWish):
        shutil.rmtree(rollout.paths.checkouts / f"{rollout.app}-{rollout.environment}", ignore_errors=True)
    return {"result": parsed.to_json(), "error": error}


def _told(error: Json) -> Json:
    return values.error_from_json(error).to_json()


def _only(previous: Previous) -> ReleaseId | None:
    """What was live before, when it was one release."""
    releases = set(previous.values())
    return next(iter(releases)) if len(releases) == 1 else None
