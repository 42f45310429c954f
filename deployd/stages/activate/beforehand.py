"""A sealed release and a command line -> its end: it ran on one host, in the release's environment, before a start."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, cast

from deployd.domain.events import Event, quiet
from deployd.domain.quantity import format_duration
from deployd.errors import HostError
from deployd.hosts.transport import LineBuffer

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping
    from typing import BinaryIO

    from deployd.domain.events import Report
    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
    from deployd.domain.options import Run
    from deployd.domain.secret import Secret
    from deployd.hosts.pool import Pool

_SHOWN = 30  # lines
_LONGEST = 2000  # characters
_NOT_FOUND = 127
# An artifact that deployd traced has the first file, which knows the app's folder and its packages' commands.
_START = 'if [ -f deployd-before.sh ]; then exec /bin/sh ./deployd-before.sh "$0"; fi; exec /bin/sh -c "$0"'


def run_before(
    pool: Pool,
    host: HostName,
    *,
    app: AppName,
    environment: EnvironmentName,
    release: ReleaseId,
    run: Run,
    variables: Mapping[str, Secret],
    command: str,
    limit: float,
    report: Report = quiet,
    cancel: threading.Event | None = None,
) -> float:
    """Run `command` in the release's files, variables and sandbox for at most `limit` seconds; returns the seconds.

    Raises HostError with its last lines when it fails or takes too long, CancelledError once `cancel` is set. What it
    did until then stays done.
    """
    helper = pool.helper(host)
    helper.configure(app, environment, run=run)
    helper.env(app, environment, release, variables=variables)
    lines = _Lines(host, report)
    written = cast("BinaryIO", lines)
    began = time.monotonic()
    code = helper.exec(
        app,
        environment,
        ["/bin/sh", "-c", _START, command],
        stdin=None,
        stdout=written,
        stderr=written,
        cancel=cancel,
        release=release,
        limit=limit,
    )
    lines.end()
    seconds = time.monotonic() - began
    if code == 0:
        return seconds
    details = "\n".join(lines.last) or None
    if seconds >= limit:
        raise HostError(
            f"`{command}` took longer than {format_duration(limit)} and was ended",
            code="before-timeout",
            host=host,
            live="unchanged",
            details=details,
            fix="raise rollout.before_timeout in deployd.toml, or see what it waits for",
        )
    if code == _NOT_FOUND:
        raise HostError(
            f"`{command}` runs something that the release does not have",
            code="before-not-found",
            host=host,
            live="unchanged",
            details=details,
            fix="name a command of the app's packages or `node FILE` in rollout.before; files go under trace.include",
        )
    raise HostError(
        f"`{command}` failed with exit code {code}, before the release started anywhere",
        code="before-failed",
        host=host,
        live="unchanged",
        details=details,
        fix="mend what the lines above say, and release again; what the command did until then stays done",
    )


class _Lines(io.RawIOBase):
    """Tells what a command writes, line by line, and keeps the last ones."""

    def __init__(self, host: HostName, report: Report) -> None:
        self._host, self._report = host, report
        self._buffer = LineBuffer()
        self.last: list[str] = []

    def write(self, data: bytes) -> int:  # type: ignore[override]
        for line in self._buffer.feed(data):
            self._tell(line)
        return len(data)

    def end(self) -> None:
        """What has no newline is a line too."""
        if self._buffer.tail:
            self._tell(self._buffer.tail)

    def _tell(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")[:_LONGEST]
        self.last = [*self.last, text][-_SHOWN:]
        self._report(Event.COMMAND_OUTPUT, host=self._host, line=text)
