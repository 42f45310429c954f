"""Repositories to fetch come in from several threads, mirrors go out: one fetch serves all who asked before it began.

A push to a repository of twenty apps makes twenty asks: their mirror is one, and one fetch after another would keep the
last of them waiting.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from deployd.stages.source import fetch

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.stages.source.mirror import Mirror


class Fetches:
    """What was fetched in this process, and when each fetch began (`time.monotonic`)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}
        self._last: dict[str, tuple[float, Mirror]] = {}

    def get(self, repository: str, *, mirrors: Path, asked: float, cancel: threading.Event | None = None) -> Mirror:
        """A mirror that has what the repository had at `asked` (`time.monotonic`) or later; raises SourceError."""
        with self._lock:
            turn = self._turns.setdefault(repository, threading.Lock())
        with turn:
            began, mirror = self._last.get(repository, (asked, None))
            if mirror is not None and began > asked and mirror.git_dir.exists():
                return mirror
            began = time.monotonic()
            mirror = fetch(repository, mirrors=mirrors, cancel=cancel)
            self._last[repository] = (began, mirror)
            return mirror
