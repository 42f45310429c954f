"""Deliveries come in from many requests' threads, rows go out through one writer, as many in a transaction as wait.

A commit to disk takes the same time for one row and for a hundred: in a burst nobody waits for more than two of them.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING

from deployd.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.store.deliveries import Arrival, Deliveries, Taken

_MOST = 200  # rows of one transaction
_WAITING = 5000
_BURST, _WITHIN = 20, 0.5  # so many deliveries within so many seconds
_PATIENCE = 30.0  # seconds


class Intake:
    """One writer. `take` may be called from any thread; it returns when the row is on disk."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self._queue: queue.Queue[tuple[Arrival, Future[Taken]]] = queue.Queue(maxsize=_WAITING)
        self._recent: deque[float] = deque(maxlen=_BURST)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def busy(self) -> bool:
        """Whether a burst comes in: what follows from deliveries can wait until they are all answered."""
        return len(self._recent) == _BURST and time.monotonic() - self._recent[0] < _WITHIN

    def take(self, arrival: Arrival) -> Taken:
        """Keep a delivery; raises BusyError when thousands wait before it."""
        future: Future[Taken] = Future()
        self._recent.append(time.monotonic())
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, daemon=True, name="intake")
                self._thread.start()
        try:
            self._queue.put_nowait((arrival, future))
            return future.result(timeout=_PATIENCE)
        except (queue.Full, TimeoutError) as error:
            raise BusyError(
                "too many deliveries wait", code="hooks-busy", fix="the forge sends it again", retryable=True
            ) from error

    def _write(self) -> None:
        while True:
            batch = [self._queue.get()]
            while len(batch) < _MOST:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            self._keep(batch)

    def _keep(self, batch: Sequence[tuple[Arrival, Future[Taken]]]) -> None:
        try:
            taken = self._deliveries.take([arrival for arrival, _ in batch])
        except Exception as error:  # noqa: BLE001 - each of them is told, and the forge sends it again
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), one in zip(batch, taken, strict=True):
            future.set_result(one)
