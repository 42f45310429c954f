"""Many verbs over one open call of the helper: a line with argv and document goes in, a line with the reply comes out.

Starting the helper anew for each verb costs the host 60 to 100 ms (sshd's fork, Python twice, sudo): more than most
verbs. One served call does one verb at a time, or holds an app's lock and does nothing else (`Holding`).
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from deployd.hosts.transport import UNKNOWN, Reply

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    from deployd.hosts.transport import Chunk, Stream

ARGV = ("serve",)
_KEPT = 2  # idle served calls that a parked connection keeps: one for verbs, one for an app's lock
# These stream, or are the service itself.
_NOT_SERVED = frozenset({"hold", "logs", "exec", "contents", "serve"})
_GZIP = b"\x1f\x8b"


def can_serve(argv: Sequence[str], stdin: bytes | None) -> bool:
    """Whether this verb can go over a served call: one that does not stream, and whose document is plain JSON."""
    return bool(argv) and argv[0] not in _NOT_SERVED and not (stdin or b"").startswith(_GZIP)


def request(argv: Sequence[str], stdin: bytes | None) -> bytes:
    """The line that asks for a verb. `stdin` is JSON without a newline."""
    return b'{"argv":' + json.dumps(list(argv)).encode() + b',"stdin":' + (stdin or b"null") + b"}\n"


class Service:
    """An open `serve`. `answered` tells whether it ever did: one that never did was refused as a whole.

    `kept` is one of an earlier piece of work, which may have ended unseen; `owed` are replies that nobody waits for.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.answered = False
        self.kept = False
        self.owed = 0

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._stream.alive

    def call(
        self, argv: Sequence[str], *, stdin: bytes | None, timeout: float, cancel: threading.Event | None
    ) -> Reply:
        """Do one verb. Exit `UNKNOWN` when the connection broke before its reply came; 0 without a document when the
        far side had ended before, and did nothing; its own exit code when it never could begin (no Python, no sudo).
        """
        self._stream.write(request(argv, stdin))
        line = None
        for line in self._stream.lines(timeout=timeout, cancel=cancel):
            if not self.owed:
                break
            self.owed, line = self.owed - 1, None  # noqa: PLW2901 - the reply to what was only told
        if line is None:
            code = self._stream.exit
            return Reply(code if code == 0 or not self.answered else UNKNOWN, b"", b"")
        try:
            answer = json.loads(line)
            reply = Reply(int(answer["exit"]), b"", b"", answer["reply"])
        except (ValueError, TypeError, KeyError):
            return Reply(self._stream.exit, line, b"")
        self.answered, self.kept = True, False
        return reply

    def tell(self, argv: Sequence[str]) -> None:
        """Have a verb done without waiting for its reply."""
        self._stream.write(request(argv, None))
        self.owed += 1

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
        # one that an earlier piece of work left may have ended meanwhile; any verb may be repeated
        gone = service.kept or reply.exit == 0
        refused = not service.answered and reply.exit != UNKNOWN
        return None if not healthy and (gone or refused) else reply

    def hold(self, argv: Sequence[str], otherwise: Callable[[], Stream]) -> Holding | None:
        """A served call that is to hold an app's lock; None when all are busy. `otherwise` starts a hold by itself."""
        service = self._taken()
        return Holding(self, service, argv, otherwise) if service else None

    def give_back(self, service: Service, *, healthy: bool) -> None:
        """One that `hold` took is free again, or has to end."""
        if healthy:
            self._give_back(service)
            return
        service.close()
        with self._lock:
            self._open -= 1

    def park(self) -> int:
        """The work is done: keep some for the next, and end the others. Returns how many still run."""
        with self._lock:
            self._idle, ended = self._idle[:_KEPT], self._idle[_KEPT:]
            for service in self._idle:
                service.kept = True
            self._open -= len(ended)
            count = len(self._idle)
        for service in ended:
            service.close()
        return count

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


class Holding:
    """A `hold` over a served call, as a stream: what is written is its document, the line that comes is its reply.

    Closing it lets go of the lock and leaves the served call to others. A helper that cannot hold so is asked for a
    hold by itself, and so is a host on which the served call has ended meanwhile.
    """

    def __init__(
        self, services: Services, service: Service, argv: Sequence[str], otherwise: Callable[[], Stream]
    ) -> None:
        self._services = services
        self._service: Service | None = service
        self._argv = argv
        self._otherwise = otherwise
        self._alone: Stream | None = None
        self._document = b""
        self._held = False
        self._asking = False

    @property
    def alive(self) -> bool:
        """Whether the lock is held, as far as can be seen from here."""
        return self._alone.alive if self._alone else self._service is not None and self._service.alive

    @property
    def exit(self) -> int:
        """The exit code; `UNKNOWN` as long as it goes on."""
        return self._alone.exit if self._alone else UNKNOWN

    def chunks(self, *, timeout: float | None = None, cancel: threading.Event | None = None) -> Iterator[Chunk]:
        """Its reply."""
        for line in self.lines(timeout=timeout, cancel=cancel):
            yield "stdout", line + b"\n"

    def lines(self, *, timeout: float | None = None, cancel: threading.Event | None = None) -> Iterator[bytes]:
        """Its reply, once."""
        if self._service is not None and not self._held:
            service, document, self._asking = self._service, self._document.strip(), True
            reply = service.call(self._argv, stdin=document, timeout=timeout or 60.0, cancel=cancel)
            self._asking = reply.document is None
            if reply.document is not None and not _cannot(reply):
                self._held = bool(reply.document.get("ok"))
                yield json.dumps(reply.document).encode()
                return
            self._leave()
            self._alone = self._otherwise()
            self._alone.write(self._document)
        if self._alone:
            yield from self._alone.lines(timeout=timeout, cancel=cancel)

    def write(self, data: bytes) -> None:
        """Take the document."""
        self._document += data

    def end_input(self) -> None:
        """Let go."""
        if self._alone:
            self._alone.end_input()
        self._leave()

    def close(self) -> None:
        """Let go; safe to repeat."""
        self._leave()
        if self._alone:
            self._alone.close()

    def _leave(self) -> None:
        service, self._service = self._service, None
        if service is None:
            return
        healthy = service.alive and service.answered and not self._asking
        if healthy and self._held:
            with contextlib.suppress(OSError):
                service.tell(("let-go",))
        self._services.give_back(service, healthy=healthy)


def _cannot(reply: Reply) -> bool:
    """A helper of before answers so, whatever is asked of it this way."""
    return (reply.document or {}).get("code") == "bad-request"
