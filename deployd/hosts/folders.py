"""A private folder with a short path goes out, for the sockets of connections; its lock says that it is in use.

A process that is killed leaves its folder behind, and the next one that makes one here takes it away.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

_PREFIX = "dpl-"
_LOCK = "held"
# A unix socket's path has 108 bytes, and OpenSSH adds 17 to a control path while it makes the socket.
_LONGEST = 70


class PrivateFolder:
    """A folder of this process alone (0700), until it is closed."""

    def __init__(self) -> None:
        parent = tempfile.gettempdir()
        if len(parent) + len(_PREFIX) + 9 > _LONGEST:
            parent = "/tmp"  # noqa: S108 - a folder of 0700 with a name that nobody knows before
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            if (self.path / _LOCK).exists():  # else somebody swept it between the two lines
                break
            os.close(self._lock)
        _sweep(self.path.parent)

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _sweep(parent: Path) -> None:
    """Remove folders of this user whose process is gone. One without a lock may be about to get it: it stays."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if folder.lstat().st_uid != os.geteuid():
                continue
            lock = os.open(folder / _LOCK, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)
