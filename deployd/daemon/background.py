"""Small jobs for which nobody waits: a callable comes in, is tried a few times with growing pauses, and then dropped.

What forges and chat services answer decides nothing: a queue that is full drops the job and says so in the log.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployd import logs

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSES = (1.0, 5.0, 30.0, 120.0, 600.0)
"""Seconds before the second, third, ... try."""


class GiveUpError(Exception):
    """Trying again would not help: the far side refused. Its text holds no secret."""


@dataclass(order=True, slots=True)
class _Job:
    due: float
    number: int
    what: str = field(compare=False)
    do: Callable[[], None] = field(compare=False)
    tries: int = field(compare=False, default=0)


class Background:
    """One thread; `add` comes back at once, from any thread."""

    def __init__(self, name: str, *, most: int = 1000, pauses: tuple[float, ...] = PAUSES) -> None:
        self._name = name
        self._most = most
        self._pauses = pauses
        self._jobs: list[_Job] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._ended = False
        self._busy = False
        self._thread: threading.Thread | None = None
        self._log = logs.logger(name)

    def add(self, what: str, do: Callable[[], None]) -> bool:
        """Do something soon; False when too much waits. `what` names it in the log: no secret."""
        with self._changed:
            if self._ended or len(self._jobs) >= self._most:
                self._log.warning("job_dropped", job=what, reason="too much waits")
                return False
            heapq.heappush(self._jobs, _Job(time.monotonic(), next(self._numbers), what, do))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name=self._name)
                self._thread.start()
            self._changed.notify()
        return True

    def stop(self, *, wait: float = 2.0) -> None:
        """Do what is due now, for a moment; what waits for another try is dropped."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread:
            self._thread.join(wait)

    def idle(self) -> bool:
        """Whether nothing waits and nothing is done."""
        with self._changed:
            return not self._jobs and not self._busy

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job.do()
            except GiveUpError as error:
                self._log.warning("job_refused", job=job.what, reason=str(error))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again; its text may hold an address
                self._again(job, type(error).__name__)
            finally:
                with self._changed:
                    self._busy = False

    def _next(self) -> _Job | None:
        with self._changed:
            while True:
                wait = self._jobs[0].due - time.monotonic() if self._jobs else None
                if wait is not None and wait <= 0:
                    self._busy = True
                    return heapq.heappop(self._jobs)
                if self._ended:
                    return None
                self._changed.wait(wait)

    def _again(self, job: _Job, reason: str) -> None:
        if job.tries >= len(self._pauses):
            self._log.warning("job_failed", job=job.what, reason=reason, tries=job.tries + 1)
            return
        job.due = time.monotonic() + self._pauses[job.tries]
        job.tries += 1
        with self._changed:
            heapq.heappush(self._jobs, job)
            self._changed.notify()
