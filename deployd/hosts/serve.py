"""Many verbs over one open call of the helper: a line with argv and document goes in, a line with the reply comes out.

Starting the helper anew for each verb costs the host 60 to 100 ms (sshd's fork, Python twice, sudo): more than most
verbs. One served call does one verb at a time.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from deployd.hosts.transport import UNKNOWN, Reply

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from deployd.hosts.transport import Stream

ARGV = ("serve",)
# These stream, or are the service itself.
_NOT_SERVED = frozenset({"hold", "logs", "exec", "serve"})
_GZIP = b"\x1f\x8b"


def can_serve(argv: Sequence[str], stdin: bytes | None) -> bool:
    """Whether this verb can go over a served call: one that does not stream, and whose document is plain JSON."""
    return bool(argv) and argv[0] not in _NOT_SERVED and not (stdin or b"").startswith(_GZIP)


def request(argv: Sequence[str], stdin: bytes | None) -> bytes:
    """The line that asks for a verb. `stdin` is JSON without a newline."""
    return b'{"argv":' + json.dumps(list(argv)).encode() + b',"stdin":' + (stdin or b"null") + b"}\n"


class Service:
    """An open `serve`. `answered` tells whether it ever did: one that never did was refused as a whole."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.answered = False

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._stream.alive

    def call(
        self, argv: Sequence[str], *, stdin: bytes | None, timeout: float, cancel: threading.Event | None
    ) -> Reply:
        """Do one verb. Exit `UNKNOWN` when the connection broke before its reply came."""
        self._stream.write(request(argv, stdin))
        line = next(iter(self._stream.lines(timeout=timeout, cancel=cancel)), None)
        if line is None:
            return Reply(UNKNOWN, b"", b"")
        try:
            answer = json.loads(line)
            reply = Reply(int(answer["exit"]), b"", b"", answer["reply"])
        except (ValueError, TypeError, KeyError):
            return Reply(self._stream.exit, line, b"")
        self.answered = True
        return reply

    def close(self) -> None:
        """End it."""
        self._stream.end_input()
        self._stream.close()


class Services:
    """The served calls of one connection: idle ones are used again, a few may run at once."""

    def __init__(self, opening: Callable[[], Stream], *, most: int) -> None:
        import threading

        self._opening = opening
        self._most = most
        self._open = 0
        self._idle: list[Service] = []
        self._lock = threading.Lock()

    def warm(self) -> None:
        """Start one ahead."""
        service = self._taken()
        if service:
            self._give_back(service)

    def call(
        self, argv: Sequence[str], *, stdin: bytes | None, timeout: float, cancel: threading.Event | None
    ) -> Reply | None:
        """Do one verb; None when it was not done, since all are busy or the helper does not serve."""
        service = self._taken()
        if service is None:
            return None
        healthy = False
        try:
            reply = service.call(argv, stdin=stdin, timeout=timeout, cancel=cancel)
            healthy = reply.document is not None
        finally:
            if healthy:
                self._give_back(service)
            else:
                service.close()
                with self._lock:
                    self._open -= 1
        refused = not healthy and not service.answered and reply.exit != UNKNOWN
        return None if refused else reply

    def _taken(self) -> Service | None:
        while True:
            with self._lock:
                if not self._idle:
                    if self._open >= self._most:
                        return None
                    self._open += 1
                    break
                service = self._idle.pop()
            if service.alive:
                return service
            service.close()
            with self._lock:
                self._open -= 1
        try:
            return Service(self._opening())
        except BaseException:
            with self._lock:
                self._open -= 1
            raise

    def _give_back(self, service: Service) -> None:
        with self._lock:
            self._idle.append(service)

    def close(self) -> None:
        """End the idle ones; those at work end with their connection."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._open -= len(idle)
        for service in idle:
            service.close()
