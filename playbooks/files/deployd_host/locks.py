"""A path comes in, an exclusive flock goes out, which the kernel frees with its holder."""

from __future__ import annotations

import os
import time

from deployd_host.files import make_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class Lock:
    """An exclusive flock on a file of root's."""

    __slots__ = ("fd", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        make_folder(os.path.dirname(os.path.dirname(path)))
        make_folder(os.path.dirname(path), mode=0o700)
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def take(self, *, wait: float | None = None) -> bool:
        """Take it, waiting up to `wait` seconds (None: for as long as it takes)."""
        import fcntl

        if wait is None:
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            return True
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.05)
            else:
                return True

    def text(self) -> str:
        """What its holder wrote."""
        return os.pread(self.fd, 1 << 16, 0).decode(errors="replace")

    def write(self, text: str) -> None:
        """Say who holds it."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, text.encode(), 0)

    def close(self) -> None:
        """Let go."""
        os.close(self.fd)

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
