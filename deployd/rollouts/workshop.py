"""What the rollouts of one process share, wired once: store, way to hosts, and the engine, started when needed."""

from __future__ import annotations

import importlib
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployd.domain.host import Host
    from deployd.hosts.pool import Pool
    from deployd.paths import StatePaths
    from deployd.rollouts.wishes import Wish
    from deployd.store import Store


class Workshop:
    """All that rollouts of one process share. `connect` makes the pool of some hosts; tests pass their own.

    With `durable` False nothing is checkpointed: the recipes run in memory, for unit tests.
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
    ) -> None:
        self.durable = durable
        self.paths = paths
        self.store = store
        self.who = who
        self.command = command
        self._connect = connect
        self._engine: Any = None
        self._starting: Starting | None = None

    def pool(self, wish: Wish) -> Pool:
        """The hosts of a wish, not connected yet. Raises NotFoundError."""
        hosts = self.store.hosts.some(wish.hosts)
        if self._connect:
            return self._connect(hosts)
        from deployd.hosts.pool import Pool

        return Pool(hosts, paths=self.paths)

    def start_engine(self) -> None:
        """Begin to import and launch DBOS in a thread: the hosts are connected meanwhile. Needs the folder's lock."""
        if self.durable and self._engine is None and self._starting is None:
            self._starting = Starting(self.paths)

    @property
    def engine(self) -> Any:
        """The engine, started if it is not yet."""
        self.start_engine()
        if self._starting:
            self._engine, self._starting = self._starting.get(), None
        return self._engine

    def close(self) -> None:
        """End the engine, for who goes on living (tests; the command line leaves by os._exit)."""
        if self._engine or self._starting:
            self.engine.close()
        self._engine = None


class Starting:
    """An engine that is being imported and launched in a thread."""

    def __init__(self, paths: StatePaths) -> None:
        self._made: list[Any] = []
        self._faults: list[BaseException] = []
        self._thread = threading.Thread(target=self._start, args=(paths,), daemon=True)
        self._thread.start()

    def _start(self, paths: StatePaths) -> None:
        try:
            engine = importlib.import_module("deployd.rollouts.engine")
            self._made.append(engine.Engine(paths.database))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            self._faults.append(error)

    def get(self) -> Any:
        """The engine, once it is there; raises what it died of."""
        self._thread.join()
        if self._faults:
            raise self._faults[0]
        return self._made[0]
