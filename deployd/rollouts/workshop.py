"""What the rollouts of one process share, wired once: store, way to hosts, and the engine, started when needed."""

from __future__ import annotations

import copy
import importlib
import threading
from typing import TYPE_CHECKING, Any, Self

from deployd.rollouts import locks
from deployd.rollouts.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployd.domain.host import Host
    from deployd.domain.ids import AppName, EnvironmentName, HostName, RolloutId
    from deployd.domain.rollout import RolloutRecord
    from deployd.hosts.pool import Pool
    from deployd.paths import StatePaths
    from deployd.rollouts.wishes import Wish
    from deployd.store import Store


class Workshop:
    """All that rollouts of one process share. `connect` makes the pool of some hosts; tests pass their own.

    With `durable` False nothing is checkpointed: the recipes run in memory, for unit tests. Who owns the state folder
    already (the daemon, for its whole life) passes the lock that it holds as `folder`, and in `builds` how many builds
    may run at once; `view` is then the same workshop in somebody's name, and any number of threads may work in it.
    """

    def __init__(
        self,
        paths: StatePaths,
        store: Store,
        *,
        who: str,
        command: str | None = None,
        connect: Callable[[Sequence[Host]], Pool] | None = None,
        durable: bool = True,
        folder: locks.FileLock | None = None,
        builds: int | None = None,
    ) -> None:
        self.durable = durable
        self.paths = paths
        self.store = store
        self.who = who
        self.command = command
        self._connect = connect
        self._folder = folder
        self.builds = Slots(builds) if builds else None
        self._shared = _Shared()

    def view(self, *, who: str, command: str | None = None) -> Self:
        """The same workshop, in the name of another."""
        other = copy.copy(self)
        other.who, other.command = who, command
        return other

    def folder_lock(self) -> locks.FileLock:
        """The state folder's lock, not taken yet; of an owner, one that is always had."""
        return locks.Owned(self.paths.lock) if self._folder is not None else locks.folder_lock(self.paths)

    def own_folder(self) -> None:
        """The state folder's lock is had: whoever worked in it before is gone."""
        if self.store.presence is not None:
            self.store.presence.succeed()

    def app_lock(self, app: AppName, environment: EnvironmentName) -> locks.FileLock:
        """The lock of an app and environment, not taken yet."""
        return locks.app_lock(self.paths, app, environment, store=self.store)

    def begin(self, rollout: RolloutId) -> None:
        """A thread of this process runs this rollout from now on."""
        with self._shared.lock:
            self._shared.running.add(rollout)

    def end(self, rollout: RolloutId) -> None:
        """No thread of this process runs it any more."""
        with self._shared.lock:
            self._shared.running.discard(rollout)

    def lives(self, record: RolloutRecord) -> bool:
        """Whether what runs this rollout still lives: its process, and in this one its thread."""
        if record.owner == locks.own_name(self.store):
            with self._shared.lock:
                return record.id in self._shared.running
        return locks.is_alive(record.owner, self.store)

    def pool(self, wish: Wish) -> Pool:
        """The hosts of a wish, not connected yet. Raises NotFoundError."""
        return self.pool_of(wish.hosts)

    def pool_of(self, names: Sequence[HostName]) -> Pool:
        """Some hosts by name, not connected yet. Raises NotFoundError."""
        hosts = self.store.hosts.some(names)
        if self._connect:
            return self._connect(hosts)
        from deployd.hosts.pool import Pool

        return Pool(hosts, paths=self.paths)

    def start_engine(self) -> None:
        """Begin to import and launch DBOS in a thread: the hosts are connected meanwhile. Needs the folder's lock."""
        with self._shared.lock:
            if self.durable and self._shared.starting is None:
                self._shared.starting = Starting(self.paths, self.store, lives_long=self._folder is not None)

    @property
    def engine(self) -> Any:
        """The engine, started if it is not yet."""
        self.start_engine()
        starting = self._shared.starting
        return starting.get() if starting else None

    def close(self) -> None:
        """End the engine, for who goes on living (tests; the command line leaves by os._exit)."""
        if self._shared.starting:
            self.engine.close()
        self._shared.starting = None


class _Shared:
    """What all views of one workshop share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: set[RolloutId] = set()
        self.starting: Starting | None = None


class Starting:
    """An engine that is being imported and launched in a thread."""

    def __init__(self, paths: StatePaths, store: Store, *, lives_long: bool) -> None:
        self._made: list[Any] = []
        self._faults: list[BaseException] = []
        self._thread = threading.Thread(target=self._start, args=(paths, store, lives_long), daemon=True)
        self._thread.start()

    def _start(self, paths: StatePaths, store: Store, lives_long: bool) -> None:  # noqa: FBT001
        try:
            engine = importlib.import_module("deployd.rollouts.engine")
            presence = store.presence
            if presence is None:
                self._made.append(engine.Engine(paths.database, lives_long=lives_long))
            else:
                self._made.append(engine.Engine(store.database.address, queue=f"deployd-{presence.folder()}"))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            self._faults.append(error)

    def get(self) -> Any:
        """The engine, once it is there; raises what it died of."""
        self._thread.join()
        if self._faults:
            raise self._faults[0]
        return self._made[0]
