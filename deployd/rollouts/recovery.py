"""What becomes of a rollout whose process is gone: its record and the later ones come in, a decision goes out.

A release that is picked up late must never overtake what was asked for after it. So nothing goes on by itself: this
decides, under the app's lock, and the engine resumes. Turning back is the same rollout resumed with a stop request: its
recipe then takes its own way back, by ordinary steps.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from deployd.rollouts.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.domain.rollout import RolloutRecord


class Decision(StrEnum):
    """What to do with an unfinished rollout."""

    LEAVE = "leave"
    """Its process lives."""
    RESUME = "resume"
    """It still is what was asked for last."""
    TURN_BACK = "turn_back"
    """It was told to stop, or a later rollout stands in its place."""


_STANDS = frozenset({State.WAITING, State.BUILDING, State.PREPARING, State.FLIPPING, State.FINISHING, State.LIVE})
_STANDS_PARTLY = _STANDS | {State.PARTLY_LIVE}


def decide(record: RolloutRecord, *, later: Sequence[RolloutRecord], alive: bool) -> Decision:
    """Decide about one unfinished rollout; `later` are those of the same app and environment asked for after it."""
    if alive:
        return Decision.LEAVE
    if record.state == State.FINISHING:
        return Decision.RESUME  # it is live already; `record` sees whether a later one has taken over
    if record.cancel_requested or record.superseded_by or successor(later):
        return Decision.TURN_BACK
    return Decision.RESUME


def successor(later: Sequence[RolloutRecord]) -> RolloutRecord | None:
    """The newest later rollout that stands, or has changed what is live; one that ended without a change does not."""
    return next((one for one in reversed(later) if one.state in _STANDS_PARTLY), None)
