"""What the store learns when a rollout has done what was asked: which release is live, which is bad, what is pinned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.domain.release import Mark, ReleaseState
from deployd.errors import SupersededError
from deployd.rollouts import consent, wayback
from deployd.rollouts.states import State

if TYPE_CHECKING:
    from deployd.domain.ids import ReleaseId
    from deployd.rollouts.fleet import Previous
    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.values import Json

_DECIDES = frozenset({State.FLIPPING, State.FINISHING, State.LIVE, State.PARTLY_LIVE})


def record_prepared(rollout: Rollout, release: ReleaseId) -> Json:
    """The release is prepared, as asked."""
    rollout.store.releases.set_state(release, ReleaseState.PREPARED)
    return {}


def took_over(rollout: Rollout) -> str | None:
    """The later rollout that decides what is live, if one has begun to flip: this one must not overtake it."""
    later = rollout.store.rollouts.after(rollout.id)
    return next((one.id for one in reversed(later) if one.state in _DECIDES), None)


def check_recorded(recorded: Json) -> None:
    """Raise what `record_live` or `record_back` kept: a rollout that was picked up late is not the live one."""
    if recorded["overtaken_by"]:
        raise SupersededError(
            f"rollout {recorded['overtaken_by']} took over",
            live="what the later rollout made live",
            fix=f"see how it ended: deployd show {recorded['overtaken_by']}",
        )


def record_live(rollout: Rollout, release: ReleaseId, _previous: Previous) -> Json:
    """The release is live; a new commit ends the pause that a rollback began."""
    successor = took_over(rollout)
    if successor:
        return {"overtaken_by": successor}
    store, where = rollout.store, (rollout.app, rollout.environment)
    store.live_log.add(*where, release=release, rollout=rollout.id)
    store.releases.set_state(release, ReleaseState.LIVE)
    pin = store.pins.get(*where)
    if pin and pin.automatic:
        store.pins.remove(*where)
    consent.went_live(rollout)
    wayback.went_live(rollout)
    return {"overtaken_by": None}


def record_back(rollout: Rollout, release: ReleaseId, previous: Previous) -> Json:
    """The fleet is back on `release`: what it left is bad, and automatic releases pause."""
    successor = took_over(rollout)
    if successor:
        return {"overtaken_by": successor}
    store, where = rollout.store, (rollout.app, rollout.environment)
    store.live_log.add(*where, release=release, rollout=rollout.id)
    if store.releases.find(release):
        store.releases.set_state(release, ReleaseState.LIVE)
    for left in {one for one in previous.values() if one not in {None, release}}:
        if left and store.releases.find(left):
            store.marks.set(left, Mark.BAD, who=rollout.who)
    store.pins.put(*where, release=release, who=rollout.who, automatic=True)
    wayback.went_live(rollout)
    return {"overtaken_by": None}
