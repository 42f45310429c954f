"""A way back that no daemon watches: the process that released stays, and goes back itself when nobody confirms.

The row is the same as the clock's: a run is begun, done and ended, so a daemon that starts meanwhile, or after this
process was killed, takes it over, and a rollback to a named release that is live already changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployd.domain.due import due
from deployd.domain.schedule import way_back_id
from deployd.rollouts.timing import why_not_back
from deployd.rollouts.wishes import RollbackWish, wish_from_json

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from deployd.domain.ids import RolloutId
    from deployd.rollouts.wishes import RolloutResult
    from deployd.store import Store

_TICK = 0.5


def guard(
    store: Store,
    rollout: RolloutId,
    *,
    leave: threading.Event,
    back: Callable[[RollbackWish], RolloutResult],
) -> RolloutResult | None:
    """Wait for a word about `rollout`; `back` goes back when its time is over. None when it stays, or when told to
    leave; the error of a rollback that failed.
    """
    schedule_id = way_back_id(rollout)
    while True:
        found = store.schedules.find(schedule_id)
        decided = due(found, datetime.now(UTC)) if found else None
        if found is None or decided is None:
            return None
        if decided.action == "run":
            if not store.schedules.begin(schedule_id, decided.planned):
                continue  # confirmed in this very moment
            why = why_not_back(store, found)
            wish = wish_from_json(found.wish) if found.wish else None
            if why or not isinstance(wish, RollbackWish):
                store.schedules.end_run(found, decided.planned, "dropped", next_at=None, why=why)
                return None
            result = back(wish)
            store.schedules.end_run(found, decided.planned, "asked", next_at=None, why=f"rollout {result.rollout}")
            return result
        if leave.wait(_TICK):
            return None
