"""The line to somebody who pushes by git: what is printed goes through it, and that they are gone comes back.

git hands its hook's output on. When the pusher is gone (Ctrl-C, a laptop that was closed), sshd ends their session, and
git, which only stops handing on, tells its hook nothing: so the session's process is watched. What prints goes on.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 65536
_GENERATIONS = 6


@contextmanager
def to_pusher() -> Iterator[threading.Event]:
    """Hand on what this process prints; the event is set when nobody reads it any more."""
    gone = threading.Event()
    far = os.dup(2)
    session = _session()
    here, inner = os.pipe()
    kept = os.dup(1), os.dup(2)
    os.dup2(inner, 1)
    os.dup2(inner, 2)
    os.close(inner)
    thread = threading.Thread(target=_hand_on, args=(here, far, session, gone), daemon=True, name="wire")
    thread.start()
    try:
        yield gone
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, one in zip((1, 2), kept, strict=True):
            os.dup2(one, number)
            os.close(one)
        thread.join(5.0)


def link(gone: threading.Event, cancel: threading.Event) -> None:
    """Set `cancel` once the pusher is gone."""

    def wait() -> None:
        gone.wait()
        cancel.set()

    threading.Thread(target=wait, daemon=True, name="gone").start()


def _session() -> int | None:
    """A descriptor of the process whose end is the end of the pusher's session: sshd's, or whoever began git."""
    pid, line = os.getppid(), list[int]()  # above us is git
    while len(line) < _GENERATIONS and (pid := _parent_of(pid) or 0):
        line.append(pid)
    chosen = next((one for one in line if _name_of(one).startswith("sshd")), line[0] if line else None)
    try:
        return os.pidfd_open(chosen) if chosen else None
    except OSError:
        return None


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def _parent_of(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    parent = int(stat.rpartition(")")[2].split()[1])  # a name may hold anything, brackets too
    return parent if parent > 1 else None


def _hand_on(here: int, far: int, session: int | None, gone: threading.Event) -> None:
    ends = select.poll()
    ends.register(here, select.POLLIN)
    ends.register(far, 0)  # an error alone: nobody reads
    watched = {far}
    if session is not None:
        ends.register(session, select.POLLIN)  # readable once the process is at its end
        watched.add(session)
    while True:
        seen = dict(ends.poll())
        for one in watched & seen.keys():
            gone.set()
            ends.unregister(one)
        if here in seen:
            piece = os.read(here, _PIECE)
            if not piece:
                break
            _write(far, piece, gone)
    for one in (here, *watched):
        os.close(one)


def _write(far: int, piece: bytes, gone: threading.Event) -> None:
    while piece and not gone.is_set():
        try:
            piece = piece[os.write(far, piece) :]
        except OSError:
            gone.set()
