"""Bytes that were sent, as events: rsync's counts come in, a few events a second go out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from deployd.domain.events import Event

if TYPE_CHECKING:
    from deployd.domain.events import Report
    from deployd.domain.ids import HostName

_EVERY = 0.2


class Progress:
    """Tells how many of `total` bytes have gone to a host. `what` is `objects` or `runtime`."""

    def __init__(self, report: Report, *, host: HostName, what: str, total: int) -> None:
        self._report = report
        self._host = host
        self._what = what
        self._total = total
        self._told = 0.0
        self._last = -1

    def __call__(self, sent: int) -> None:
        """Tell it, if the last telling is a while ago."""
        now = time.monotonic()
        if now - self._told >= _EVERY and sent != self._last:
            self._tell(sent)
            self._told = now

    def finish(self) -> None:
        """Tell the end."""
        if self._last != self._total:
            self._tell(self._total)

    def _tell(self, sent: int) -> None:
        self._last = sent
        self._report(Event.BYTES_SENT, host=self._host, what=self._what, sent=min(sent, self._total), total=self._total)
