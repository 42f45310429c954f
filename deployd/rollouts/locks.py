"""Locks: one for the state folder, one for each app and environment. They are free as soon as their holder dies.

flock on this machine; on a database that several daemons share, an app's lock is the database's. What the holder says
of itself is kept beside the lock, for the error of whoever comes second.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from deployd.errors import BusyError
from deployd.store import moments

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.domain.ids import AppName, EnvironmentName
    from deployd.paths import StatePaths
    from deployd.store import Store
    from deployd.store.presence import Presence

_TICK = 0.02
_TICK_SHARED = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Who holds a lock; every field may be unknown."""

    pid: int | None = None
    who: str | None = None
    command: str | None = None
    since: str | None = None
    app: str | None = None
    environment: str | None = None
    machine: str | None = None

    def describe(self) -> str:
        """For people: `ada's "release shop production" (process 4711, since ...)`."""
        where = f" on {self.machine}" if self.machine else ""
        what = f"{self.who or 'somebody'}'s `{self.command or 'deployd'}`"
        return f"{what} (process {self.pid}{where}, since {self.since})"


class FileLock:
    """One lock file, not held yet."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor: int | None = None

    def take(self, held: Held, *, wait: float = 0.0) -> bool:
        """Take it within `wait` seconds; False when another has it."""
        deadline = time.monotonic() + wait
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    return False
                time.sleep(_TICK)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(held)).encode(), 0)
        self._descriptor = descriptor
        return True

    def holder(self) -> Held:
        """Who holds it, as far as its text says."""
        try:
            found: Any = json.loads(self._file.read_text())
            return Held(**{name: found.get(name) for name in Held.__slots__})
        except (OSError, ValueError, AttributeError):
            return Held()

    def busy(self, what: str) -> BusyError:
        """The error for whoever comes second."""
        holder = self.holder()
        return BusyError(
            f"{what} is held by {holder.describe()}",
            live="unchanged",
            fix="wait for it, or end it: deployd cancel",
            retryable=True,
        )

    def close(self) -> None:
        """Let go; safe to repeat."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Owned(FileLock):
    """A lock that this process holds for its whole life: whoever asks in this process has it."""

    def take(self, held: Held, *, wait: float = 0.0) -> bool:
        """It is held already."""
        del held, wait
        return True

    def close(self) -> None:
        """It stays held."""


class Shared(FileLock):
    """A lock of all processes that use one database."""

    def __init__(self, presence: Presence, name: str) -> None:
        self._presence = presence
        self._name = name
        self._taken = False

    def take(self, held: Held, *, wait: float = 0.0) -> bool:
        """Take it within `wait` seconds; False when another has it."""
        deadline = time.monotonic() + wait
        while not self._taken:
            self._taken = self._presence.take(self._name, asdict(held))
            if time.monotonic() >= deadline:
                break
            if not self._taken:
                time.sleep(_TICK_SHARED)
        return self._taken

    def holder(self) -> Held:
        """Who holds it, as far as is known."""
        found = self._presence.holder(self._name)
        return Held(**{name: found.get(name) for name in Held.__slots__})

    def close(self) -> None:
        """Let go; safe to repeat."""
        if self._taken:
            self._presence.free(self._name)
        self._taken = False


def folder_lock(paths: StatePaths) -> FileLock:
    """Held by the one process that runs the engine on this state folder."""
    return FileLock(paths.lock)


def app_lock(paths: StatePaths, app: AppName, environment: EnvironmentName, *, store: Store | None = None) -> FileLock:
    """Held by whoever decides about this app and environment; between machines, when their store is shared."""
    presence = store.presence if store is not None else None
    if presence is not None:
        return Shared(presence, f"app {app} {environment}")
    return FileLock(paths.root / "locks" / f"{app}-{environment}")


def held_by(*, who: str, command: str, app: AppName | None = None, environment: EnvironmentName | None = None) -> Held:
    """This process, as the text of a lock."""
    return Held(pid=os.getpid(), who=who, command=command, since=moments.now(), app=app, environment=environment)


def own_name(store: Store | None = None) -> str:
    """This process, told apart from any other that has or had its pid: `4711:123456:boot`."""
    presence = store.presence if store is not None else None
    return presence.own_name() if presence is not None else name_of(os.getpid())


def name_of(pid: int) -> str:
    """Any process, named so."""
    return f"{pid}:{_start_of(pid)}:{_boot()}"


def is_alive(owner: str | None, store: Store | None = None) -> bool:
    """Whether the process of that name still lives: by the kernel, or by its signs of life in a shared store."""
    presence = store.presence if store is not None else None
    if presence is not None:
        return presence.alive(owner)
    pid, _, rest = (owner or "").partition(":")
    start, _, boot = rest.partition(":")
    return pid.isdigit() and boot == _boot() and _start_of(int(pid)) == start


def _start_of(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - no Path in between
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else fields[19]


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - as above
        return file.read().strip()
