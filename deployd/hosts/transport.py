"""How a helper is spoken to: an argv (and bytes for its stdin) goes in, a `Reply` or a `Stream` comes out.

`Ssh` (ssh.py) is the one for real hosts, `Local` (local.py) runs the same helper file on this machine's own disk, for
contract tests. Exit -1 means that the wire broke: what the host did is unknown, and only the host can say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence

    from deployd.domain.ids import HostName

UNKNOWN = -1

Chunk = tuple[Literal["stdout", "stderr"], bytes]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call to the helper gave; `exit` is `UNKNOWN` when the connection broke before the host could say.

    `document` is the reply when it came parsed already.
    """

    exit: int
    stdout: bytes
    stderr: bytes
    document: Mapping[str, Any] | None = None


class Stream(Protocol):
    """A call that goes on: a held lock, followed logs, a command's output."""

    @property
    def alive(self) -> bool:
        """Whether the far side still runs, as far as can be seen from here."""

    @property
    def exit(self) -> int:
        """The exit code once it ended; `UNKNOWN` before, and when the wire broke."""

    def chunks(self, *, timeout: float | None = None, cancel: threading.Event | None = None) -> Iterator[Chunk]:
        """What it writes, as it comes; ends at its end. Raises HostError `host-timeout`, and CancelledError."""

    def lines(self, *, timeout: float | None = None, cancel: threading.Event | None = None) -> Iterator[bytes]:
        """Its stdout, line by line. May be called again to go on."""

    def write(self, data: bytes) -> None:
        """Write to its stdin; quietly nothing when it has ended."""

    def end_input(self) -> None:
        """Close its stdin."""

    def close(self) -> None:
        """End it; safe to repeat."""


class Transport(Protocol):
    """A way to one host's helper. Several threads may share it."""

    @property
    def name(self) -> HostName:
        """The host's name."""

    @property
    def address(self) -> str:
        """Where it is, for messages."""

    def connect(self) -> None:
        """Be connected: nothing when already so. Raises UnreachableError or HostKeyError."""

    def call(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float = 60,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Run one verb to its end."""

    def open(self, argv: Sequence[str]) -> Stream:
        """Start a verb that goes on; its stdin stays open."""

    def close(self) -> None:
        """Close the connection; safe to repeat."""


class LineBuffer:
    """Splits bytes that come in pieces into lines; `tail` is what has no newline yet."""

    def __init__(self) -> None:
        self.tail = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes."""
        *lines, self.tail = (self.tail + data).split(b"\n")
        return lines
