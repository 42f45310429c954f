"""The events of running rollouts: the dispatcher tells them, streams and listeners get them.

What is told is kept in the store in batches, so a stream takes the kept ones first and then those of here. Listeners
have one thread, and one that fails or is slow keeps nobody else waiting but other listeners.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployd import logs
from deployd.domain.ids import RolloutId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deployd.domain.events import Event, Report

_KEPT_LINES = 5000  # of one rollout; older ones are read from the store
_KEPT_ROLLOUTS = 50
_WAITING = 20_000
_COMPLAIN_EVERY = 10.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One event of a rollout; `fields` has its seq, time and rollout too."""

    rollout: RolloutId
    event: str
    fields: Mapping[str, Any]

    @property
    def seq(self) -> int:
        """Its number within the rollout."""
        return int(self.fields.get("seq", 0))


@dataclass(slots=True)
class _Line:
    told: deque[Told] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    ended: bool = False
    wakers: set[Callable[[], None]] = field(default_factory=set)


class Hub:
    """Takes events from all rollouts' threads."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[Told], None]] = []
        self._lines: dict[RolloutId, _Line] = {}
        self._lock = threading.Lock()
        self._queue: queue.Queue[Told | None] = queue.Queue(maxsize=_WAITING)
        self._thread: threading.Thread | None = None
        self._complained = -_COMPLAIN_EVERY

    def start(self) -> None:
        """Begin to serve the listeners."""
        self._thread = threading.Thread(target=self._serve, daemon=True, name="listeners")
        self._thread.start()

    def stop(self, *, wait: float = 2.0) -> None:
        """Let the listeners hear what is left, for a moment."""
        if self._thread:
            self._queue.put(None)
            self._thread.join(wait)

    def report(self, rollout: RolloutId) -> Report:
        """A `Report` of one rollout."""

        def tell(event: Event, /, **fields: object) -> None:
            self.tell(Told(rollout=RolloutId(str(fields.get("rollout", rollout))), event=str(event), fields=fields))

        return tell

    def tell(self, told: Told) -> None:
        """Keep one event for streams, and hand it to the listeners."""
        with self._lock:
            line = self._line(told.rollout)
            line.told.append(told)
            wakers = tuple(line.wakers)
        for wake in wakers:
            wake()
        if self.listeners:
            try:
                self._queue.put_nowait(told)
            except queue.Full:  # a build that floods: said from time to time, not for each line
                if time.monotonic() - self._complained > _COMPLAIN_EVERY:
                    self._complained = time.monotonic()
                    logs.logger("hub").warning("listeners_too_slow", rollout=told.rollout)

    def end(self, rollout: RolloutId) -> None:
        """Nothing more will be told of it."""
        with self._lock:
            line = self._line(rollout)
            line.ended = True
            wakers = tuple(line.wakers)
        for wake in wakers:
            wake()

    def after(self, rollout: RolloutId, seq: int) -> tuple[list[Told], bool]:
        """What was told after number `seq` and is still here, and whether that was all."""
        with self._lock:
            line = self._lines.get(rollout)
            if line is None:
                return [], False
            return [told for told in line.told if told.seq > seq], line.ended

    def watch(self, rollout: RolloutId, wake: Callable[[], None]) -> None:
        """Call `wake` (from any thread) whenever something is told of it."""
        with self._lock:
            self._line(rollout).wakers.add(wake)

    def unwatch(self, rollout: RolloutId, wake: Callable[[], None]) -> None:
        """Call it no more."""
        with self._lock:
            line = self._lines.get(rollout)
            if line is not None:
                line.wakers.discard(wake)
                if not line.wakers and not line.told and not line.ended:
                    del self._lines[rollout]  # it was over before anybody asked for it

    def _line(self, rollout: RolloutId) -> _Line:
        line = self._lines.get(rollout)
        if line is None:
            line = self._lines[rollout] = _Line()
            for old in [key for key, one in self._lines.items() if one.ended and not one.wakers][:-_KEPT_ROLLOUTS]:
                del self._lines[old]
        return line

    def _serve(self) -> None:
        while (told := self._queue.get()) is not None:
            for listener in tuple(self.listeners):
                try:
                    listener(told)
                except Exception:  # noqa: BLE001 - a listener that fails is no rollout's trouble
                    logs.logger("hub").exception("listener_failed", told=told.event, rollout=told.rollout)
