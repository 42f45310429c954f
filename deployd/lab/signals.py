"""Signals while a lab changes: Ctrl-C and SIGTERM come in; an event to look at goes out, and an exception at the end.

Nothing is raised where the signal hits. Python runs its handler between any two instructions of the main thread, for
example in the hooks around a fork, which swallow the exception and leave `logging`'s lock held for ever: the next fork
in another thread then waits for it (met by a test, once in sixty interrupted `up`s).
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deployd.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_TERMINATED = 128 + signal.SIGTERM


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Give an event that SIGINT, SIGTERM and SIGHUP set; once the work inside has ended, obey the first of them.

    Obeying is KeyboardInterrupt, or SystemExit(143). Further signals change nothing, so that cleaning is finished.
    """
    cancel = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield cancel  # only the main thread gets signals
        return
    heard: list[int] = []

    def hear(number: int, _frame: FrameType | None) -> None:
        heard.append(number)
        cancel.set()

    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, hear) for number in watched}
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if heard:
            raise KeyboardInterrupt if heard[0] == signal.SIGINT else SystemExit(_TERMINATED)


def check(cancel: threading.Event) -> None:
    """Raise CancelledError once `cancel` is set."""
    if cancel.is_set():
        raise CancelledError("the lab was interrupted", fix="run it again when you like")
