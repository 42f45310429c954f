"""A full disk comes in; room for what has to work all the same goes out: going back, and removing releases.

A file holds some room, and is given up when nothing else is free: state, locks and links need little. It is made again
by what makes room, and at bootstrap.
"""

from __future__ import annotations

import contextlib
import os

from deployd_host.files import disk_free
from deployd_host.paths import BASE, DISK_RESERVE

SIZE = 4 << 20
_FULL = 1 << 20
SPENDING = ("hold", "flip", "prune", "discard", "start", "stop", "maintenance", "canary")


def reserve_path() -> str:
    """The file."""
    return BASE + "/.reserve"


def make_room() -> bool:
    """Give the reserve up if the disk is full; whether it was."""
    if disk_free()[0] >= _FULL:
        return False
    with contextlib.suppress(FileNotFoundError):
        os.unlink(reserve_path())
        return True
    return False


def keep_reserve() -> None:
    """Have it again, if there is room enough."""
    path = reserve_path()
    if os.path.exists(path) or not os.path.isdir(BASE) or disk_free()[0] < DISK_RESERVE:
        return
    with contextlib.suppress(OSError):
        fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(fd, 0, SIZE)
            os.rename(path + ".new", path)
        except OSError:
            os.unlink(path + ".new")
        finally:
            os.close(fd)
