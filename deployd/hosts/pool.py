"""The hosts of one piece of work: `Host`s come in, connected helpers go out, each connected once and kept open.

Connections are made when first needed, in parallel where several are asked for, and again when one has died. What goes
wrong on one host is a value, not an exception across threads: the others are not disturbed.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from deployd.errors import HostError, NotFoundError
from deployd.hosts.folders import PrivateFolder
from deployd.hosts.helper import Helper
from deployd.hosts.local import Local
from deployd.hosts.ssh import Ssh
from deployd.hosts.wire import LocalWire, SshWire, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from deployd.domain.host import Host
    from deployd.domain.ids import HostName
    from deployd.hosts.transport import Transport
    from deployd.paths import StatePaths

_T = TypeVar("_T")


class Pool:
    """Helpers and rsync doors of some hosts. Threads may share it; close it when the work is done."""

    def __init__(
        self,
        hosts: Sequence[Host],
        *,
        paths: StatePaths | None,
        connect_timeout: float = 10.0,
        transports: Mapping[HostName, Transport] | None = None,
    ) -> None:
        self._hosts = {host.name: host for host in hosts}
        self._key = paths.ssh_key if paths else Path("/nonexistent")
        self._timeout = connect_timeout
        self._transports: dict[HostName, Transport] = {
            host.name: Ssh(host, key=self._key, connect_timeout=connect_timeout) for host in hosts
        } | dict(transports or {})
        self._helpers = {name: Helper(transport) for name, transport in self._transports.items()}
        self._logins: dict[HostName, float] = {}
        self._wires: dict[HostName, Wire] = {}
        self._folder: PrivateFolder | None = None
        self._closed = False
        self._lock = threading.RLock()

    @classmethod
    def of(cls, transports: Mapping[HostName, Transport]) -> Pool:
        """A pool over other transports, for tests."""
        return cls([], paths=None, transports=transports)

    @property
    def names(self) -> tuple[HostName, ...]:
        """The hosts, in the order given."""
        return tuple(self._transports)

    def host(self, name: HostName) -> Host:
        """A host. Raises NotFoundError."""
        if name not in self._hosts:
            raise self._unknown(name)
        return self._hosts[name]

    def address(self, name: HostName) -> str:
        """A host's address. Raises NotFoundError."""
        if name not in self._transports:
            raise self._unknown(name)
        return self._transports[name].address

    def _unknown(self, name: HostName) -> NotFoundError:
        known = ", ".join(self._transports) or "none"
        return NotFoundError(
            f"there is no host {name!r} (known: {known})",
            code="host-unknown",
            fix=f"add it with `deployd host add {name} USER@ADDRESS`, or correct the name in deployd.toml",
        )

    def helper(self, name: HostName) -> Helper:
        """A host's helper, connected. Raises NotFoundError, UnreachableError or HostKeyError."""
        if name not in self._helpers:
            raise self._unknown(name)
        started = time.monotonic()
        self._transports[name].connect()
        self._logins.setdefault(name, time.monotonic() - started)
        return self._helpers[name]

    def login_seconds(self, name: HostName) -> float:
        """How long the first login on a connected host took."""
        return self._logins[name]

    def connect_all(
        self, names: Iterable[HostName] | None = None, *, shipping: bool = False
    ) -> dict[HostName, HostError | None]:
        """Connect to hosts in parallel; with `shipping`, begin rsync's connections too."""

        def connect(helper: Helper) -> None:
            if shipping:
                self.wire(helper.name).warm()

        outcomes = self.each(self.names if names is None else names, connect)
        return {name: outcome if isinstance(outcome, HostError) else None for name, outcome in outcomes.items()}

    def each(
        self, names: Iterable[HostName], do: Callable[[Helper], _T], *, at_once: bool = False
    ) -> dict[HostName, _T | HostError]:
        """Call `do` with each host's helper, a thread a host; a HostError is that host's value.

        With `at_once` all are connected before the first `do`, and then let go together. Any other exception is
        raised once all have ended.
        """
        wanted = list(dict.fromkeys(names))
        outcomes: dict[HostName, _T | HostError] = {}
        faults: list[BaseException] = []
        gate = threading.Barrier(len(wanted)) if at_once and wanted else None

        def one(name: HostName) -> None:
            try:
                try:
                    helper = self.helper(name)
                finally:
                    if gate:
                        gate.wait()
                outcomes[name] = do(helper)
            except HostError as error:
                outcomes[name] = error
            except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
                faults.append(error)

        threads = [threading.Thread(target=one, args=(name,), name=f"host-{name}", daemon=True) for name in wanted]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if faults:
            raise faults[0]
        return {name: outcomes[name] for name in wanted}

    def begin_shipping(self) -> None:
        """Begin rsync's connections, without waiting for them; nothing once the pool is closed."""
        for name in self.names:
            with self._lock:
                if self._closed:
                    return
                wire = self.wire(name)
            wire.warm()

    def wire(self, name: HostName) -> Wire:
        """A host's rsync door."""
        with self._lock:
            if name not in self._wires:
                self._wires[name] = self._new_wire(name)
            return self._wires[name]

    def rewire(self, name: HostName) -> Wire:
        """A fresh rsync door, after the old one broke."""
        with self._lock:
            old = self._wires.pop(name, None)
        if old:
            old.close()
        return self.wire(name)

    def _new_wire(self, name: HostName) -> Wire:
        transport = self._transports.get(name)
        if isinstance(transport, Local):
            return LocalWire(transport)
        if self._folder is None:
            self._folder = PrivateFolder()
        folder = Path(tempfile.mkdtemp(prefix="", dir=self._folder.path))
        return SshWire(self.host(name), key=self._key, folder=folder, connect_timeout=self._timeout)

    def close(self) -> None:
        """Close every connection; safe to repeat."""
        with self._lock:
            self._closed = True
            wires, self._wires = list(self._wires.values()), {}
            folder, self._folder = self._folder, None
        closers = [threading.Thread(target=wire.close) for wire in wires]
        for closer in closers:
            closer.start()
        for transport in self._transports.values():
            transport.close()
        for closer in closers:
            closer.join()
        if folder:
            folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
