"""Turning a rollout back: an error comes in; hosts that were flipped are flipped back, and it is kept how it ended.

Hosts are asked what is current: only a host that has this rollout's release is flipped. Where a later rollout has begun
to flip, hosts are left to it: it knows what should be live, and this one must not overtake it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from deployd.domain.events import Event
from deployd.domain.ids import HostName
from deployd.domain.release import ReleaseState
from deployd.errors import DeploydError, HostError, PartlyLiveError, on_host
from deployd.hosts.causes import NOT_ASKED
from deployd.rollouts import closing, drains, finishing, values
from deployd.rollouts.runner import ENDED
from deployd.rollouts.steps import Step
from deployd.rollouts.wishes import RollbackWish
from deployd.stages import activate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.domain.ids import ReleaseId
    from deployd.rollouts.fleet import Previous
    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.runner import Runner
    from deployd.rollouts.values import Json

_AGAIN_AFTER = 1.0
_UNKNOWN = frozenset({"connection-lost", "host-timeout", "helper-reply", "failed"})
"""Errors of a flip that may have happened all the same."""


def turn_back(
    run: Runner,
    rollout: Rollout,
    error: DeploydError,
    *,
    release: ReleaseId | None,
    previous: Previous | None,
    flips: Sequence[Json] = (),
) -> Json:
    """Undo what a rollout did, and close it with `error` (or PartlyLiveError where undoing failed)."""
    left: Json = {"stuck": {}, "live": None}
    try:
        if release is not None and previous is not None:
            left = run.sure(Step.FLIP_BACK, flip_back, rollout, release, previous, flips)
            run.sure(Step.DISCARD, discard, rollout, release)
        elif release is not None:  # no host has heard of it
            rollout.store.releases.set_state(release, ReleaseState.FAILED)
    except DeploydError as fault:
        if fault.code == ENDED:  # another process took over and closed this rollout: hosts are its business now
            return {"result": None, "error": values.error_to_json(fault if error.code == ENDED else error)}
        left = {"stuck": {str(name): fault.what for name in previous or ()}, "live": None}
    if left["stuck"]:
        error = _partly(error, left["stuck"])
    elif left["live"]:
        error = error.but(live=left["live"])
    elif error.live in {None, "", NOT_ASKED}:
        error = error.but(live=_still_live(rollout))
    return closing.close_with_error(run, rollout, error, release=release, previous=previous, stuck=tuple(left["stuck"]))


def _still_live(rollout: Rollout) -> str:
    """What was made live last, for a rollout that ended before any host was asked."""
    log = rollout.store.live_log.of(rollout.app, rollout.environment)
    return f"{log[-1][0]}, unchanged" if log else "nothing yet, unchanged"


def flip_back(rollout: Rollout, release: ReleaseId, previous: Previous, flips: Sequence[Json]) -> Json:
    """Flip back each host that has the release. Returns the hosts where that failed, and what is live."""
    if not rollout.store.rollouts.get(rollout.id).touched:
        return {"stuck": {}, "live": describe(previous)}
    if successor := finishing.took_over(rollout):
        drains.give_back(rollout, previous)  # what is live is not this one's business any more; what it took out is
        return {"stuck": {}, "live": f"what rollout {successor} makes live"}
    stuck = _flip_back_once(rollout, release, previous)
    if stuck:
        time.sleep(_AGAIN_AFTER)  # a connection that broke, a host that was restarting
        stuck = _flip_back_once(rollout, release, {HostName(name): previous[HostName(name)] for name in stuck})
    untouched = set() if rollout.resumed else _never_flipped(previous, flips)
    for name in untouched & stuck.keys():
        rollout.report(
            Event.WARNING, host=name, what=f"{stuck.pop(name)}; it was not flipped before that", code="host-lost"
        )
    return {"stuck": stuck, "live": describe(previous)}


def _never_flipped(previous: Previous, flips: Sequence[Json]) -> set[str]:
    """Hosts that surely have what they had: no flip was sent, or the host or the way to it refused it.

    Only for the process that flipped: one that resumes cannot know what was sent before.
    """
    maybe = {name for flip in flips for name in flip["hosts"]}
    refused = {
        name for flip in flips for name, error in flip["errors"].items() if error["fields"]["code"] not in _UNKNOWN
    }
    return {str(name) for name in previous} - (maybe - refused)


def _flip_back_once(rollout: Rollout, release: ReleaseId, previous: Previous) -> dict[str, str]:
    held = rollout.leases.hold(previous)
    asked = rollout.pool.each(
        [name for name, lease in held.items() if not isinstance(lease, HostError)],
        lambda helper: helper.status(rollout.app, rollout.environment).current,
    )
    stuck = {name: one for name, one in {**held, **asked}.items() if isinstance(one, HostError)}
    targets = {name: previous[name] for name, current in asked.items() if current == release != previous[name]}
    epochs = {name: lease.epoch for name, lease in held.items() if not isinstance(lease, HostError)}
    outcomes = activate.flip_back(
        rollout.pool,
        targets,
        app=rollout.app,
        environment=rollout.environment,
        epochs=epochs,
        report=rollout.report,
    )
    stuck |= {name: one for name, one in outcomes.items() if isinstance(one, HostError)}
    activate.drain(
        rollout.pool,
        {name: release for name, one in outcomes.items() if not isinstance(one, HostError)},
        app=rollout.app,
        environment=rollout.environment,
    )
    drains.give_back(rollout, previous)
    return {str(name): one.what for name, one in stuck.items()}


def discard(rollout: Rollout, release: ReleaseId) -> Json:
    """Remove what was prepared of a release that never was live; a failure is a warning, `prune` comes again."""
    if isinstance(rollout.wish, RollbackWish):
        return {}  # its target was there before, and stays
    rollout.store.releases.set_state(release, ReleaseState.FAILED)
    outcomes = activate.discard(
        rollout.pool, rollout.hosts, app=rollout.app, environment=rollout.environment, release=release
    )
    for name, outcome in outcomes.items():
        if isinstance(outcome, HostError) and outcome.code not in {"was-live", "is-current"}:
            rollout.report(
                Event.WARNING,
                host=name,
                what=f"what was prepared of {release} stays on {on_host(name, outcome.what)}",
                code=outcome.code,
                fix="deployd prune",
            )
    return {}


def describe(live: Previous) -> str:
    """What is live where, in words: one release everywhere, or each host with its own."""
    releases = set(live.values())
    if len(releases) == 1:
        only = next(iter(releases))
        where = "on all hosts" if len(live) > 1 else f"on {next(iter(live))}"
        return f"{only} {where}" if only else f"nothing yet {where}"
    return ", ".join(f"{release or 'nothing'} on {name}" for name, release in live.items())


def _partly(error: DeploydError, stuck: dict[str, str]) -> PartlyLiveError:
    names = ", ".join(stuck)
    return PartlyLiveError(
        f"{error.what}; and {names} could not be flipped back",
        host=next(iter(stuck)),
        live=f"the release before, but for {names}: not known, or the new one",
        details="\n".join(f"{name}: {what}" for name, what in stuck.items()),
        fix=f"make {names} reachable, then `deployd rollback`; `deployd status` shows what is live where",
    )
