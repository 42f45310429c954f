"""What other processes on a shared database do: a place comes in; who works there, or what they left, goes out.

On SQLite there are no others: one process owns the state folder.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from deployd import logs
from deployd.rollouts import locks

if TYPE_CHECKING:
    from collections.abc import Collection

    from deployd.domain.ids import AppName, EnvironmentName, RolloutId
    from deployd.rollouts.workshop import Workshop
    from deployd.store import Store

    Place = tuple[AppName, EnvironmentName]

LOOK_EVERY = 2.0
"""Seconds between two looks for what dead processes left."""
PAUSE = 2.0
"""Seconds that an ask waits when somebody else held its app at the last moment."""


class Others:
    """The other processes, as the store shows them."""

    def __init__(self, store: Store, workshop: Workshop) -> None:
        self.shared = store.database.shared
        self._store = store
        self._workshop = workshop
        self._held: dict[Place, float] = {}
        self._looked = time.monotonic()
        self._log = logs.logger("dispatcher")

    def own_name(self) -> str | None:
        """This process's name in the store; from now on it shows that it lives."""
        if not self.shared:
            return None
        self._workshop.own_folder()
        return locks.own_name(self._store)

    def held(self, place: Place) -> None:
        """Somebody else turned out to hold this app."""
        self._held[place] = time.monotonic() + PAUSE

    def why_not(self, place: Place, own: Collection[RolloutId]) -> str | None:
        """Why a release must wait for another process; None when it need not."""
        if not self.shared:
            return None
        if time.monotonic() < self._held.get(place, 0.0):
            return "another process works on this app"
        for record in self._store.rollouts.unfinished(*place):
            if record.id in own:
                continue
            if self._workshop.lives(record):
                return f"rollout {record.id} runs in another process"
            return f"what rollout {record.id} left is settled first"
        return None

    def is_due(self) -> bool:
        """Whether it is time to look for what dead processes left."""
        if not self.shared or time.monotonic() - self._looked < LOOK_EVERY:
            return False
        self._looked = time.monotonic()
        return True

    def left(self, own: Collection[Place]) -> tuple[tuple[Place, RolloutId], ...]:
        """The places with rollouts whose process is gone, with the oldest of each; asks that it left wait again."""
        store = self._store
        for queued in store.queue.running():
            if self.shared and self.alive(store.queue.owner_of(queued.id)):
                continue
            record = store.rollouts.find(queued.id)
            if record is None:
                if store.queue.put_back(queued.id):
                    self._log.info("ask_taken_back", rollout=queued.id)
            elif record.outcome is not None:
                store.queue.finish(queued.id, outcome=record.outcome, error=record.error, only="running")
        places: dict[Place, RolloutId] = {}
        for record in store.rollouts.unfinished():
            place = (record.app, record.environment)
            if place not in own and not self._workshop.lives(record):
                places.setdefault(place, record.id)
        return tuple(places.items())

    def alive(self, owner: str | None) -> bool:
        """Whether a process of that name lives; this one does."""
        return owner is not None and locks.is_alive(owner, self._store)
