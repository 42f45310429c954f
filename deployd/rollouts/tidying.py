"""What the engine keeps of rollouts that are long over is removed, once a day: by the daemon, or after a rollout alone.

Only the kept steps go; the rollouts themselves, their events, and the keys of asks stay: a key that was forgotten would
let a delivery or a schedule's run happen again.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from deployd.domain.events import Event
from deployd.store import moments

if TYPE_CHECKING:
    from deployd.domain.events import Report
    from deployd.rollouts.workshop import Workshop

KEPT = timedelta(days=30)
_APART = 86_400.0
_STAMP = "tidied"


def tidy(workshop: Workshop, *, report: Report) -> int:
    """Remove what is due, if that was not done today already; returns how many. The engine runs, its lock is held.

    Nothing depends on it: a failure is a warning.
    """
    stamp = workshop.paths.root / _STAMP
    try:
        if not workshop.durable or (stamp.exists() and time.time() - stamp.stat().st_mtime < _APART):
            return 0
        stamp.touch()
        before = datetime.now(UTC) - KEPT
        kept = workshop.engine.kept_before(moments.text_of(before))
        records = ((name, workshop.store.rollouts.find(name)) for name in kept)
        over = [name for name, one in records if one is not None and one.finished is not None]
        workshop.engine.forget(over)
    except Exception as error:  # noqa: BLE001 - the rollout before it went well, and that is what counts
        report(Event.WARNING, what=f"old steps could not be removed: {error}", code="tidy-failed", fix="see the disk")
        return 0
    return len(over)
