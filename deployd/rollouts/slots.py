"""How many builds run at once in one process: a rollout waits for a slot here, and stops waiting when it must stop."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TICK = 0.1


class Slots:
    """A number of slots, taken in no promised order."""

    def __init__(self, count: int) -> None:
        self._free = threading.Semaphore(count)

    @contextmanager
    def hold(self, stop: threading.Event) -> Iterator[None]:
        """Hold one; once `stop` is set, the caller goes on without one, and sees by itself that it must stop."""
        taken = self._free.acquire(blocking=False)
        while not taken and not stop.is_set():
            taken = self._free.acquire(timeout=_TICK)
        try:
            yield
        finally:
            if taken:
                self._free.release()
