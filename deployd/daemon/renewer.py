"""The daemon's part that renews certificates: those that deployd obtained come in, each host has a fresh one in time.

Those that end soon are obtained anew, and every host gets them: one that was away gets them at the next look. (What a
host's web server obtains by itself, it renews by itself.) An authority that refuses is asked less and less often.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from deployd import logs
from deployd.errors import DeploydError, HostError
from deployd.rollouts import certifying

if TYPE_CHECKING:
    from deployd.daemon.wiring import Daemon
    from deployd.domain.events import Event
    from deployd.rollouts.certified import Kept

EVERY = 3600.0
"""Seconds between two looks; an authority is asked anew when a third of a certificate's time is left."""


class Renewer:
    """Looks once an hour, and whenever it is woken."""

    name = "certificates"

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._log = logs.logger(self.name)

    def start(self, daemon: Daemon) -> None:
        """Begin; the first look is at once."""
        self._thread = threading.Thread(target=self._live, args=(daemon,), daemon=True, name=self.name)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ended.set()
        if self._thread:
            self._thread.join(2.0)

    def _live(self, daemon: Daemon) -> None:
        while not self._ended.is_set():
            try:
                self.look(daemon)
            except Exception:  # noqa: BLE001 - the next look may fare better
                self._log.exception("certificates_failed")
            self._ended.wait(EVERY)

    def look(self, daemon: Daemon) -> None:
        """Renew what is due, and bring each certificate to the hosts that lack it."""
        for kept in certifying.everything(daemon.store):
            if self._ended.is_set():
                return
            try:
                self._renew(daemon, kept)
            except DeploydError as error:
                self._log.warning("certificate_failed", app=kept.site.app, code=error.code, reason=error.what)

    def _renew(self, daemon: Daemon, kept: Kept) -> None:
        where = {"app": kept.site.app, "environment": kept.site.environment}

        def report(event: Event, /, **fields: object) -> None:
            self._log.warning(str(event), **where, **{key: fields.get(key) for key in ("what", "code")})

        now, told = certifying.renew(
            daemon.paths,
            daemon.store,
            daemon.workshop.pool_of,
            kept,
            who="deployd",
            unattended=True,
            report=report,
        )
        if now and now.certificate and now.certificate != kept.certificate:
            self._log.info(
                "certificate_renewed", **where, names=list(now.certificate.names), until=now.certificate.ends
            )
        for host, one in told.items():
            if isinstance(one, HostError):
                self._log.warning("certificate_not_brought", **where, host=host, code=one.code, reason=one.what)
