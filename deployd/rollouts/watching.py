"""Watching a rollout that another process runs: its kept events go out as they come, and its result at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.domain.events import Event
from deployd.errors import CancelledError, DeploydError
from deployd.rollouts import locks
from deployd.rollouts.wishes import RolloutResult

if TYPE_CHECKING:
    import threading

    from deployd.domain.events import Report
    from deployd.domain.ids import RolloutId
    from deployd.store import Store

_TICK = 0.2
_KNOWN = frozenset(str(event) for event in Event)


def follow(store: Store, rollout: RolloutId, *, report: Report, leave: threading.Event) -> RolloutResult:
    """Report the events of a rollout until its end. Raises CancelledError when `leave` is set, NotFoundError for an
    unknown rollout, and the error of one that ended before it touched anything.
    """
    seen, warned = 0, False
    while not leave.is_set():
        record = store.rollouts.find(rollout)
        if record is None:
            queued = store.queue.get(rollout)  # it waits in the daemon's queue, or ended there
            if queued.state == "done":
                raise DeploydError(
                    f"rollout {rollout} ended {queued.outcome}: {queued.reason or 'before it began'}",
                    code="never-began",
                    live="unchanged",
                    fix="see `deployd rollouts`",
                )
        else:
            for event in store.events.of(rollout, after=seen):
                seen = event.seq
                if event.event in _KNOWN:
                    known = {"seq": event.seq, "time": event.time, "rollout": rollout}
                    report(Event(event.event), **{**event.fields, **known})
            if record.finished is not None and record.result is not None:
                return RolloutResult.from_json(record.result)
            if not warned and not locks.is_alive(record.owner, store):
                warned = True
                report(Event.WARNING, what="its process is gone", code="owner-gone", fix="deployd resume")
        leave.wait(_TICK)
    raise CancelledError(f"left; rollout {rollout} goes on", code="left", fix=f"deployd watch {rollout}")
