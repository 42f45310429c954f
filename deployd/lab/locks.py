"""Locks between processes: a path comes in, a context in which nobody else holds it goes out. The kernel frees them."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deployd.lab import signals

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

_POLL = 0.02
_WHOLE_FILE = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


@contextmanager
def held(path: Path, *, cancel: threading.Event | None = None, wait: bool = True) -> Iterator[None]:
    """Hold the lock at `path`, waiting for it (else BlockingIOError); `cancel` ends the wait with CancelledError.

    The file is removed afterwards.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _take(descriptor, cancel=cancel, wait=wait)
            if _is_still(path, descriptor):
                break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # whoever held it has removed it: hold the next one
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _take(descriptor: int, *, cancel: threading.Event | None, wait: bool) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise
            if cancel is not None:
                signals.check(cancel)
            time.sleep(_POLL)
        else:
            return


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def remove_if_free(path: Path) -> None:
    """Remove a lock file that nobody holds, by either kind of lock. Whoever has opened it will notice and open anew."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE_FILE)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)
