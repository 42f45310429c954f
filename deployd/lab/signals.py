"""Signals while a lab changes: Ctrl-C and SIGTERM come in; an exception goes out where the main thread stands, once."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_TERMINATED = 128 + signal.SIGTERM


@contextmanager
def interruptible(cancel: threading.Event | None) -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT and SystemExit(143) on SIGTERM and SIGHUP, so that what was made is cleaned up.

    The first signal sets `cancel`, for the other threads. Once that is set (by a signal, or by whoever cleans up after
    a failure), signals wait until the cleaning is finished. Without `cancel` they always wait: the work is short then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return
    heard: list[int] = []

    def hear(number: int, _frame: FrameType | None) -> None:
        heard.append(number)
        if cancel is not None and not cancel.is_set():
            cancel.set()
            raise _reason(number)

    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, hear) for number in watched}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if heard:  # while cleaning: obey now
        raise _reason(heard[0])


def _reason(number: int) -> BaseException:
    if number == signal.SIGINT:
        return KeyboardInterrupt()
    return SystemExit(_TERMINATED)
