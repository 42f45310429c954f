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
_LONGEST_PAUSE = 3600.0


class GiveUpError(Exception):
    """Trying again would not help: the far side refused. Its text holds no secret."""


class LaterError(Exception):
    """The far side wants to be left alone for `seconds`."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = min(seconds, _LONGEST_PAUSE)


@dataclass(order=True, slots=True)
class _Job:
    due: float
    number: int
    what: str = field(compare=False)
    do: Callable[[], None] = field(compare=False)
    key: str | None = field(compare=False, default=None)
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

    def add(self, what: str, do: Callable[[], None], *, key: str | None = None) -> bool:
        """Do something soon; False when too much waits. `what` names it in the log: no secret.

        What has the same `key` and still waits (for another try) is replaced: older news must not come after newer.
        """
        with self._changed:
            if key is not None:
                self._jobs = [job for job in self._jobs if job.key != key]
                heapq.heapify(self._jobs)
            if self._ended or len(self._jobs) >= self._most:
                self._log.warning("job_dropped", job=what, reason="too much waits")
                return False
            heapq.heappush(self._jobs, _Job(time.monotonic(), next(self._numbers), what, do, key))
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
            except LaterError as error:
                self._again(job, str(error), at_least=error.seconds)
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

    def _again(self, job: _Job, reason: str, *, at_least: float = 0.0) -> None:
        if job.tries >= len(self._pauses):
            self._log.warning("job_failed", job=job.what, reason=reason, tries=job.tries + 1)
            return
        job.due = time.monotonic() + max(self._pauses[job.tries], at_least)
        job.tries += 1
        with self._changed:
            if job.key is not None and any(other.key == job.key for other in self._jobs):
                return  # there is newer news by now
            heapq.heappush(self._jobs, job)
            self._changed.notify()
