"""The way back of a release that nobody has confirmed yet: armed before the flip, so that no crash after it loses it.

A row of `schedules` is the way back. It is there before anything is live; its time counts from when it is live; the
clock takes it unless `deployd confirm` came. A rollout that ends otherwise, and whatever goes live later, ends it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from deployd.domain.events import Event
from deployd.domain.schedule import Schedule, way_back_id
from deployd.errors import DeploydError
from deployd.rollouts.wishes import RollbackWish, wish_to_json
from deployd.store import moments

if TYPE_CHECKING:
    from deployd.rollouts.fleet import Previous
    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.values import Json


def is_wanted(rollout: Rollout) -> bool:
    """Whether it is to go back by itself unless it is confirmed."""
    return bool(getattr(rollout.wish, "confirm_within", None))


def arm(rollout: Rollout, previous: Previous) -> Json:
    """Keep the way back to what is live now. Raises when nothing is: then there is no way back."""
    within = getattr(rollout.wish, "confirm_within", None) or 0.0
    before = {release for release in previous.values() if release is not None}
    if not before:
        raise DeploydError(
            f"nothing is live in {rollout.app} {rollout.environment} that an unconfirmed release could go back to",
            code="confirm-nowhere",
            live="nothing, unchanged",
            fix="release it without --confirm-within",
        )
    target = next(iter(before)) if len(set(previous.values())) == 1 else None  # None: the last good one
    wish = RollbackWish(
        app=rollout.app,
        environment=rollout.environment,
        hosts=rollout.hosts,
        options=rollout.options,
        release=target,
    )
    until = moments.text_of(datetime.now(UTC) + timedelta(seconds=within))
    rollout.store.schedules.add(
        Schedule(
            id=way_back_id(rollout.id),
            app=rollout.app,
            environment=rollout.environment,
            kind="rollback",
            purpose="unconfirmed",
            release=target,
            at=until,
            rollout=rollout.id,
            wish=wish_to_json(wish),
            who=rollout.who,
            created=moments.now(),
            next_at=until,
        )
    )
    return {"back_to": target}


def went_live(rollout: Rollout) -> None:
    """What was unconfirmed until now is replaced; the time of this one counts from now. Twice is once."""
    store = rollout.store
    for one in store.schedules.active(rollout.app, rollout.environment):
        if one.purpose == "unconfirmed" and one.rollout != rollout.id:
            store.schedules.end(one.id, "cancelled", who=f"rollout {rollout.id}")
    if is_wanted(rollout):
        until = datetime.now(UTC) + timedelta(seconds=getattr(rollout.wish, "confirm_within", 0.0))
        store.schedules.put_off(way_back_id(rollout.id), until)
        rollout.report(Event.CONFIRMATION_WANTED, until=moments.text_of(until))
