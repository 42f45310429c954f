"""A rollout that another machine's process left: its record comes in; its steps are forgotten where files are missing.

What was checked out, built and packaged lies in that machine's state folder. Before anything was prepared, the steps of
building are done again here; later only when the artifact cannot be had. The release keeps its id all the same, and
hosts take what they have already for the same release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.domain.events import Event
from deployd.errors import NotFoundError, StorageError
from deployd.rollouts.states import State
from deployd.rollouts.wishes import ActivateWish, RollbackWish, wish_from_json

if TYPE_CHECKING:
    from deployd.domain.events import Report
    from deployd.domain.rollout import RolloutRecord
    from deployd.rollouts.workshop import Workshop


def move_here(workshop: Workshop, record: RolloutRecord, *, report: Report) -> bool:
    """Have what the rest of an unfinished rollout needs in this state folder. Returns whether it begins anew."""
    presence = workshop.store.presence
    if presence is None or not workshop.durable or isinstance(wish_from_json(record.wish), RollbackWish | ActivateWish):
        return False
    if presence.folder_of(record.owner) == presence.folder():
        return False
    if State(record.state) not in {State.WAITING, State.BUILDING, State.PREPARING}:
        return False  # what follows is the hosts' alone
    if State(record.state) is State.PREPARING and _has_artifact(workshop, record, report=report):
        return False
    workshop.engine.forget([record.id])
    what = f"rollout {record.id} was left by a process of another machine; it is built again on this one"
    report(Event.WARNING, what=what, code="built-again")
    return True


def _has_artifact(workshop: Workshop, record: RolloutRecord, *, report: Report) -> bool:
    from deployd.rollouts import sharing

    release = workshop.store.releases.find(record.release) if record.release else None
    if release is None:
        return False
    try:
        sharing.have(workshop.paths, release.artifact, report=report, store=workshop.store, pool_of=workshop.pool_of)
    except (NotFoundError, StorageError):
        return False
    return True
