"""A slot comes in, one Caddy that serves it goes out, from its start to its end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time

from places import CONFIG, PROGRAM, RUN, remove
from slots import FIRST_FD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from slots import Slot


def delay_of(config: str) -> float:
    """For how long a Caddy with this configuration goes on before it closes its listeners."""
    try:
        with open(config, encoding="utf-8") as file:
            found = re.search(r"^\s*shutdown_delay\s+([0-9.]+)s\s*$", file.read(), re.MULTILINE)
    except OSError:
        found = None
    return float(found[1]) if found else 0.0


class Generation:
    """One Caddy: it starts, serves, and leaves."""

    def __init__(self, number: int, slot: Slot) -> None:
        self.number = number
        self.slot = slot
        self.folder = f"{RUN}/g{number}"
        self.delay = delay_of(CONFIG)
        self.started = time.monotonic()
        self.left: float | None = None
        self.ready = False
        self.hangs = False
        self._used = 0
        self._used_at = time.monotonic()
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.folder}/notify")
        self.notices.bind(f"{self.folder}/notify")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LISTEN_", "NOTIFY_"))}
        self.pid = os.posix_spawn(
            PROGRAM,
            [PROGRAM, "run", "--adapter", "caddyfile", "--config", CONFIG],
            {**kept, "NOTIFY_SOCKET": f"{self.folder}/notify", "DEPLOYD_WEB_RUN": self.folder},
            file_actions=[(os.POSIX_SPAWN_DUP2, one.fileno(), FIRST_FD + at) for at, one in enumerate(slot.sockets)],
            setsigdef=[signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE],
            setsigmask=[],
        )

    def read_notices(self) -> None:
        """Hear whether it is ready."""
        with contextlib.suppress(BlockingIOError):
            while text := self.notices.recv(4096):
                self.ready = self.ready or b"READY=1" in text.split(b"\n")

    def leave(self) -> None:
        """Ask those who are connected to connect again, then end."""
        if self.left is None:
            self.left = time.monotonic()
            self.kill(signal.SIGTERM)

    def kill(self, number: int) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def idle(self) -> float:
        """For how long it has used no processor: not even what counts to a hundredth of a second or two."""
        now = time.monotonic()
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                words = file.read().rpartition(b") ")[2].split()
            used = int(words[11]) + int(words[12])
        except (OSError, ValueError, IndexError):
            return 0.0
        if used > self._used + 2:
            self._used, self._used_at = used, now
        return now - self._used_at

    def closed(self) -> bool:
        """Whether it has let go of its slot's queues, though it may still answer what it has."""
        return self.left is not None and time.monotonic() > self.left + self.delay + 0.5

    def forget(self) -> None:
        """Tidy up after it."""
        self.notices.close()
        remove(self.folder)
