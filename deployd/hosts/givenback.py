"""A release on a host comes in; its manifest, and the contents of its files as they come over the wire, go out.

What comes is a host's word: whoever keeps it compares every content with its hash first.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from deployd.hosts import causes, refusals, verbs
from deployd.hosts.transport import UNKNOWN

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from deployd.domain.artifact import FileEntry
    from deployd.domain.ids import AppName, EnvironmentName, ReleaseId
    from deployd.hosts.transport import Transport

_QUIET = 900.0  # seconds


def manifest(transport: Transport, app: AppName, environment: EnvironmentName, release: ReleaseId) -> Mapping[str, Any]:
    """The manifest's JSON, not checked. Raises HostError (`release-unknown` and others)."""
    argv = verbs.manifest(app, environment, release)
    reply = transport.call(argv)
    found = _document(transport, argv, reply.stdout if reply.document is None else json.dumps(reply.document).encode())
    return dict(found["manifest"])


def contents(
    transport: Transport,
    app: AppName,
    environment: EnvironmentName,
    release: ReleaseId,
    wanted: Sequence[FileEntry],
    *,
    take: Callable[[FileEntry, io.RawIOBase], None],
    cancel: threading.Event | None = None,
) -> None:
    """Hand each wanted file's bytes to `take`, one after the other. Raises HostError when the stream ends before."""
    argv = verbs.contents(app, environment, release)
    stream = transport.open(argv)
    try:
        stream.write(json.dumps({"sha256": [entry.sha256 for entry in wanted]}).encode())
        stream.end_input()
        pieces = (data for name, data in stream.chunks(timeout=_QUIET, cancel=cancel) if name == "stdout")
        come = _Come(pieces)
        _document(transport, argv, come.line())
        for entry in wanted:
            content = _Content(come, entry.size)
            take(entry, content)
            if content.left:
                raise causes.lost(transport.name, address=transport.address, doing=" ".join(argv[:4]), live=None)
    finally:
        stream.close()


def _document(transport: Transport, argv: verbs.Argv, line: bytes) -> dict[str, Any]:
    try:
        data = json.loads(line)
        if not data["ok"]:
            raise refusals.refusal(data, host=transport.name)
    except (ValueError, KeyError, TypeError) as error:
        if not line:
            raise causes.lost(transport.name, address=transport.address, doing=" ".join(argv[:4]), live=None) from error
        raise refusals.no_reply(UNKNOWN, line[:2000], b"", host=transport.name, doing=" ".join(argv[:4])) from error
    return dict(data)


class _Come:
    """Bytes that came and were not taken yet."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def line(self) -> bytes:
        """The first line; b"" when there is none."""
        while b"\n" not in self._rest:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def some(self, most: int) -> bytes:
        """The next bytes, at least one and at most so many; b"" at the end."""
        if not self._rest:
            self._rest = next(self._pieces, b"")
        found, self._rest = self._rest[:most], self._rest[most:]
        return found


class _Content(io.RawIOBase):
    """The bytes of one file within the stream, for who reads a file. `left` have not come yet."""

    def __init__(self, come: _Come, size: int) -> None:
        self._come = come
        self.left = size

    def read(self, size: int = -1, /) -> bytes:
        """Some of the next bytes; b"" at its end."""
        wanted = self.left if size < 0 else min(size, self.left)
        found = self._come.some(wanted) if wanted else b""
        self.left -= len(found)
        return found
