"""Lines of a build come in; they go out without secrets: into the kept log, to who is watching, and to the error.

What a build prints is read in terminals: what colours or commands one (moves the cursor, sets its title) is taken out.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deployd.domain.events import Event, Report
from deployd.stages.build.environment import Redactor
from deployd.stages.build.failing import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

LIMIT = 64 * 1024 * 1024


@contextmanager
def logged(log: Path, *, variables: Mapping[str, str], report: Report) -> Iterator[Callable[[str], str]]:
    """Keep a build's output in `log` and report each line, until it is 64 MiB: who prints more has lost its way.

    A log that cannot be written (the disk is full) fails no build: a warning says so, and the rest is only reported.
    """
    redact = Redactor(variables)
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    room, is_kept = LIMIT, True

    def keep(line: str) -> None:
        nonlocal room, is_kept
        data = (line + "\n").encode(errors="replace")
        room -= len(data)
        if room < 0:
            os.write(descriptor, b"... more than 64 MiB of output; the rest is left out\n")
            report(Event.WARNING, what=f"the build's log is full: {log} ends here", code="log-full")
            return
        try:
            os.write(descriptor, data)
        except OSError as error:
            is_kept = False
            report(Event.WARNING, what=f"the build's log is not kept: {log}: {error.strerror}", code="log-full")

    def on_line(line: str) -> str:
        clean = redact(line)
        if not clean.isprintable():
            clean = redact(plain(clean))
        if room < 0:
            return clean
        if is_kept:
            keep(clean)
        report(Event.BUILD_OUTPUT, line=clean)
        return clean

    try:
        yield on_line
    finally:
        os.close(descriptor)
