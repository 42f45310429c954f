"""Connections that some work is done with come in, and the next work on the same hosts gets them, still open.

Logging in and starting the helper are most of what a daemon's rollback takes. So what serves verbs on the host waits
there with the connection; it ends by itself when another helper was installed meanwhile.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from deployd.hosts.pool import Pool
from deployd.hosts.ssh import Ssh

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployd.domain.host import Host
    from deployd.domain.ids import HostName
    from deployd.hosts.transport import Transport
    from deployd.paths import StatePaths

_KEPT_FOR = 900.0
"""Seconds: a rollback mostly follows its release within minutes."""


class Shelf:
    """Idle connections of one process, one a host, each lent to one pool at a time. A changed host is another one."""

    def __init__(self, paths: StatePaths, *, kept_for: float = _KEPT_FOR) -> None:
        self._paths = paths
        self._kept_for = kept_for
        self._idle: dict[Host, tuple[Ssh, float]] = {}
        self._lock = threading.Lock()
        self._sweeper: threading.Timer | None = None

    def pool(self, hosts: Sequence[Host]) -> Pool:
        """A pool of these hosts that gives its connections back when it is closed."""
        with self._lock:
            found = {host.name: self._idle.pop(host)[0] for host in hosts if host in self._idle}
        return _Lent(hosts, paths=self._paths, transports=found, shelf=self)

    def put(self, connection: Ssh) -> bool:
        """Keep a connection on which nothing runs any more; False when it is not worth keeping."""
        if not connection.park():
            return False
        with self._lock:
            if connection.host in self._idle:
                return False
            self._idle[connection.host] = (connection, time.monotonic())
            self._sweep_later()
        return True

    def _sweep_later(self) -> None:
        """One sweep is to come while something is kept; the lock is held."""
        if self._sweeper is None and self._idle:
            oldest = min(since for _, since in self._idle.values())
            self._sweeper = threading.Timer(max(0.0, oldest + self._kept_for - time.monotonic()), self._sweep)
            self._sweeper.daemon = True
            self._sweeper.start()

    def _sweep(self) -> None:
        before = time.monotonic() - self._kept_for
        with self._lock:
            old = [host for host, (_, since) in self._idle.items() if since <= before]
            ended = [self._idle.pop(host)[0] for host in old]
            self._sweeper = None
            self._sweep_later()
        for connection in ended:
            connection.close()

    def close(self) -> None:
        """Close what is kept."""
        with self._lock:
            ended, self._idle = [connection for connection, _ in self._idle.values()], {}
            if self._sweeper:
                self._sweeper.cancel()
                self._sweeper = None
        for connection in ended:
            connection.close()


class _Lent(Pool):
    """A pool whose connections go back to the shelf."""

    def __init__(
        self, hosts: Sequence[Host], *, paths: StatePaths, transports: Mapping[HostName, Transport], shelf: Shelf
    ) -> None:
        super().__init__(hosts, paths=paths, transports=transports)
        self._shelf = shelf

    def close(self) -> None:
        """Give back what can be used again, and close the rest."""
        for name, transport in list(self._transports.items()):
            if isinstance(transport, Ssh) and self._shelf.put(transport):
                del self._transports[name]
        super().close()
