"""The part that has the engine forget, once a day, the kept steps of rollouts that are long over."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from deployd import logs
from deployd.rollouts.tidying import tidy

if TYPE_CHECKING:
    from deployd.daemon.wiring import Daemon
    from deployd.domain.events import Event

LOOK_EVERY = 3600.0
"""Seconds between two looks whether a day is over."""


class Tidier:
    """A part of the daemon."""

    name = "tidier"

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._log = logs.logger(self.name)

    def start(self, daemon: Daemon) -> None:
        """Begin."""
        threading.Thread(target=self._live, args=(daemon,), daemon=True, name=self.name).start()

    def stop(self) -> None:
        """End."""
        self._ended.set()

    def _live(self, daemon: Daemon) -> None:
        while not self._ended.is_set():
            if daemon.leads():
                forgotten = tidy(daemon.workshop, report=self._tell)
                if forgotten:
                    self._log.info("steps_forgotten", rollouts=forgotten)
            self._ended.wait(LOOK_EVERY)

    def _tell(self, event: Event, /, **fields: object) -> None:
        self._log.warning(str(event), **fields)
