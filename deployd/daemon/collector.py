"""The daemon's part that counts visitors: hosts are asked for what came since the last time, and it is kept.

Who looks at the traffic has it collected first (`fresh`), so what is shown is never older than a second or two.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from deployd import logs
from deployd.domain.ids import AppName, EnvironmentName
from deployd.errors import HostError
from deployd.rollouts.wishes import wish_from_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.daemon.wiring import Daemon
    from deployd.domain.ids import HostName
    from deployd.hosts.helper import Helper

EVERY = 20.0
KEEP = 30 * 86400.0
MINUTES_STAY = 86400.0
TIDY_EVERY = 3600.0
_FRESH = 1.0
_FIRST = "1h"
_LONGEST = 86400.0
Place = tuple[AppName, EnvironmentName]


class Collector:
    """Asks every host of every app and environment, now and then."""

    name = "traffic"

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._log = logs.logger(self.name)
        self._lock = threading.Lock()
        self._locks: dict[tuple[Place, HostName], threading.Lock] = {}
        self._asked: dict[tuple[Place, HostName], float] = {}
        self._away: set[HostName] = set()
        self._tidied = 0.0

    def start(self, daemon: Daemon) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._live, args=(daemon,), daemon=True, name=self.name)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ended.set()
        if self._thread:
            self._thread.join(2.0)

    def _live(self, daemon: Daemon) -> None:
        while not self._ended.wait(_interval(daemon.settings)):
            if not daemon.leads():
                continue
            try:
                self.look(daemon)
            except Exception:  # noqa: BLE001 - the next look may fare better
                self._log.exception("traffic_failed")

    def look(self, daemon: Daemon) -> None:
        """Collect everything once, over one connection to each host, and once an hour make room."""
        hosts: dict[HostName, list[Place]] = {}
        for place, names in places_of(daemon):
            for name in names:
                hosts.setdefault(name, []).append(place)
        self._collect(daemon, hosts)
        if time.monotonic() - self._tidied > TIDY_EVERY or not self._tidied:
            self._tidied = time.monotonic()
            keep = float(daemon.settings.get("traffic_keep") or KEEP)
            daemon.store.traffic.roll_up(time.time() - MINUTES_STAY)
            daemon.store.traffic.prune(time.time() - keep)

    def fresh(self, daemon: Daemon, place: Place, hosts: Sequence[HostName]) -> dict[HostName, HostError]:
        """Collect from these hosts what they counted since the last time; returns those that do not answer."""
        now = time.monotonic()
        due = {name: [place] for name in hosts if now - self._asked.get((place, name), -_LONGEST) > _FRESH}
        return self._collect(daemon, due)

    def _collect(self, daemon: Daemon, hosts: dict[HostName, list[Place]]) -> dict[HostName, HostError]:
        if not hosts:
            return {}

        def ask(helper: Helper) -> None:
            for place in hosts[helper.name]:
                if not self._ended.is_set():
                    self._ask(daemon, place, helper)

        with daemon.workshop.pool_of(list(hosts)) as pool:
            answers = pool.each(pool.names, ask)
        missing = {name: answer for name, answer in answers.items() if isinstance(answer, HostError)}
        for name in hosts:
            error = missing.get(name)
            if error is None:
                self._away.discard(name)
            elif name not in self._away:
                self._away.add(name)
                self._log.warning("traffic_not_counted", host=name, code=error.code, reason=error.what)
        return missing

    def _ask(self, daemon: Daemon, place: Place, helper: Helper) -> None:
        key = (place, helper.name)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            cursor = daemon.store.traffic.cursor(*place, helper.name)
            found = helper.traffic(*place, since=_FIRST if cursor is None else cursor, step=60)
            if daemon.store.traffic.add(*place, found, now=time.time()):
                daemon.metrics.visitors.count(place, found)
            self._asked[key] = time.monotonic()


def places_of(daemon: Daemon) -> list[tuple[Place, tuple[HostName, ...]]]:
    """Where something was rolled out, each with the hosts of the last rollout there that hosts are still known of."""
    known = {host.name for host in daemon.store.hosts.all()}
    found = []
    for place in daemon.store.live_log.places():
        latest = daemon.store.rollouts.latest(*place, limit=1)
        hosts = tuple(name for name in wish_from_json(latest[0].wish).hosts if name in known) if latest else ()
        if hosts:
            found.append((place, hosts))
    return found


def _interval(settings: dict[str, Any]) -> float:
    return max(1.0, float(settings.get("traffic_interval") or EVERY))
