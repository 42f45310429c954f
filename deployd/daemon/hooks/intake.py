"""Deliveries come in from many requests, rows go out through one writer, as many in a transaction as wait.

A commit to disk takes the same time for one row and for a hundred: in a burst nobody waits for more than two of them.
Requests wait on the event loop and not in threads: in a burst, waking a thread for each takes longer than its row.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from deployd.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.domain.secret import Secret
    from deployd.store.deliveries import Arrival, Deliveries, Taken
    from deployd.store.secrets import Secrets

_MOST = 200  # rows of one transaction
_WAITING = 5000
_BURST, _WITHIN = 20, 0.5  # so many deliveries within so many seconds
_PATIENCE = 30.0  # seconds
_AT_HAND = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class _Asked:
    arrival: Arrival
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Taken]


class Intake:
    """One writer. `take` may be awaited in any event loop; it returns when the row is on disk."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self._waiting: deque[_Asked] = deque()
        self._recent: deque[float] = deque(maxlen=_BURST)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def busy(self) -> bool:
        """Whether a burst comes in: what follows from deliveries can wait until they are all answered."""
        return len(self._recent) == _BURST and time.monotonic() - self._recent[0] < _WITHIN

    async def take(self, arrival: Arrival) -> Taken:
        """Keep a delivery; raises BusyError when thousands wait before it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Taken] = loop.create_future()
        with self._changed:
            if len(self._waiting) >= _WAITING:
                raise _too_many()
            self._recent.append(time.monotonic())
            self._waiting.append(_Asked(arrival, loop, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, daemon=True, name="intake")
                self._thread.start()
            self._changed.notify()
        try:
            async with asyncio.timeout(_PATIENCE):
                return await future
        except TimeoutError as error:
            raise _too_many() from error

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                batch = [self._waiting.popleft() for _ in range(min(_MOST, len(self._waiting)))]
            outcomes: Sequence[Taken | Exception]
            try:
                outcomes = self._deliveries.take([one.arrival for one in batch])
            except Exception as error:  # noqa: BLE001 - each of them is told, and the forge sends it again
                outcomes = [error] * len(batch)
            for loop in {one.loop for one in batch}:
                told = [(one.future, end) for one, end in zip(batch, outcomes, strict=True) if one.loop is loop]
                with suppress(RuntimeError):  # its loop is closed: nobody waits there
                    loop.call_soon_threadsafe(_tell, told)


def _tell(told: Sequence[tuple[asyncio.Future[Taken], Taken | Exception]]) -> None:
    for future, end in told:
        if future.done():
            continue  # who asked is gone
        if isinstance(end, Exception):
            future.set_exception(end)
        else:
            future.set_result(end)


def _too_many() -> BusyError:
    return BusyError("too many deliveries wait", code="hooks-busy", fix="the forge sends it again", retryable=True)


class AtHand:
    """The secrets of apps whose deliveries come in right now: in a burst of one app its secret is read and opened once.

    What is asked for while it is being read is told to all who asked. It is kept only once a signature was found good
    with it, so the time of a refusal tells a stranger nothing. A secret that is changed here is forgotten at once, one
    that another daemon changes after a second.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._kept: dict[str, tuple[Secret, float, int]] = {}
        self._asked: dict[tuple[str, int], asyncio.Future[Secret | None]] = {}

    async def get(self, app: str) -> Secret | None:
        """The secret, or None when the app has none."""
        changes = self._secrets.changes
        secret, until, before = self._kept.get(app, (None, 0.0, 0))
        if secret is not None and time.monotonic() < until and changes == before:
            return secret
        key, found = (app, changes), self._asked.get((app, changes))
        if found is None or found.get_loop() is not asyncio.get_running_loop():
            found = asyncio.ensure_future(run_in_threadpool(self._secrets.reveal, "hook", app=app, name=""))
            self._asked[key] = found
            found.add_done_callback(lambda _: self._asked.pop(key, None))
        return await asyncio.shield(found)

    def proved(self, app: str, secret: Secret) -> None:
        """A signature was found good with it."""
        self._kept[app] = (secret, time.monotonic() + _AT_HAND, self._secrets.changes)
