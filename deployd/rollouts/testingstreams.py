"""What goes on at a host that is a folder (testing.py): a held lock, and a command that ran."""

from __future__ import annotations

import fcntl
import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from deployd.hosts.transport import Chunk
    from deployd.rollouts.testing import FolderHost

Json = dict[str, Any]


class Held:
    """A held lock: a `Stream`. flock, so that the kernel frees it when the process dies."""

    def __init__(self, host: FolderHost, argv: Sequence[str]) -> None:
        self._host = host
        wait = float(argv[argv.index("--wait") + 1]) if "--wait" in argv else 0.0
        self._descriptor = os.open(host.root / "hold", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        self._opened = time.time()
        self._held = self._take(time.monotonic() + wait)

    def _take(self, deadline: float) -> bool:
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                # `unlock` ends the holder on a real host; here it is told by a file, and the lock is not enforced
                broken = self._host.root / "broken-open"
                if broken.exists() and float(broken.read_text()) > self._opened - 60:
                    return True
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.01)

    @property
    def alive(self) -> bool:
        """Whether it is held."""
        return self._held

    @property
    def exit(self) -> int:
        """The exit code."""
        return 0 if self._held else 1

    def chunks(self, *, timeout: float | None = None, cancel: threading.Event | None = None) -> Iterator[Chunk]:
        """Nothing but lines."""
        del timeout, cancel
        return iter(())

    def lines(self, *, timeout: float | None = None, cancel: threading.Event | None = None) -> Iterator[bytes]:
        """The reply."""
        del timeout, cancel
        if self._held:
            reply: Json = {"ok": True, "epoch": self._host.take_epoch(), "current": self._host.current}
        else:
            reply = {"ok": False, "code": "lock-held", "what": "held by another", "live": self._host.current}
        yield json.dumps(reply).encode()

    def write(self, data: bytes) -> None:
        """Who holds it."""
        if self._held:
            (self._host.root / "holder").write_bytes(data)

    def end_input(self) -> None:
        """Let go."""
        self.close()

    def close(self) -> None:
        """Let go; safe to repeat."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._held = -1, False


class Ran:
    """A command that ran: a `Stream`. It wrote two lines, and the file `exec-code` says how it ended."""

    def __init__(self, root: Path) -> None:
        told = root / "exec-code"
        self.exit = int(told.read_text()) if told.exists() else 0
        self.alive = False

    def chunks(self, *, timeout: float | None = None, cancel: threading.Event | None = None) -> Iterator[Chunk]:
        """Its output."""
        del timeout, cancel
        yield "stdout", b"applying 1 migr"
        yield "stdout", b"ation\n"
        yield "stderr", b"done"

    def lines(self, *, timeout: float | None = None, cancel: threading.Event | None = None) -> Iterator[bytes]:
        """Nothing but chunks."""
        del timeout, cancel
        return iter(())

    def write(self, data: bytes) -> None:
        """It reads nothing."""

    def end_input(self) -> None:
        """It reads nothing."""

    def close(self) -> None:
        """It is over."""
