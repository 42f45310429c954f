"""A Caddy's address comes in, for how long it has said nothing goes out; asking never waits."""

from __future__ import annotations

import contextlib
import errno
import socket
import time

from timing import ASK_EVERY


class Door:
    """Where a Caddy is asked now and then. `silent` is for how long the question that is open has had no answer.

    Only time in which this process itself ran is counted: a machine that was paused, or has no processor to spare, says
    nothing of Caddy. Until a door has answered once, nothing follows from its silence (a firewall may close it).
    """

    def __init__(self) -> None:
        self.silent = 0.0
        self.answered = False
        self._open: socket.socket | None = None
        self._again = 0.0
        self._looked = time.monotonic()

    def look(self, family: int, address: tuple[str, int] | str) -> None:
        """Ask when it is time, hear what there is to hear; never waits."""
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, 1.5), now
        if self._open is None:
            if now < self._again:
                return
            self._open = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            self._sent = False
            passed = 0.0
        self.silent += passed
        try:
            if not self._sent:
                with contextlib.suppress(BlockingIOError):  # a full queue of a unix socket, or one on its way
                    self._open.connect(address)
                self._open.send(b"GET /.deployd/health HTTP/1.0\r\nHost: localhost\r\n\r\n", socket.MSG_NOSIGNAL)
                self._sent = True
            self._open.recv(1)
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.ENOTCONN}:
                return  # not yet
            self.forget()  # nobody is there: what ended is started anew elsewhere
            return
        self.forget()
        self.answered = True

    def forget(self) -> None:
        """Begin with the next question."""
        if self._open:
            self._open.close()
        self._open, self.silent = None, 0.0
        self._again = time.monotonic() + ASK_EVERY
