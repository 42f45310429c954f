"""A clock in a process of its own, on a real store: `clockdrive.py STATE SECONDS`. Asks go into the real queue."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace

from deployd.daemon.clock import Clock
from deployd.paths import StatePaths
from deployd.store import Store


def daemon(state: Path) -> SimpleNamespace:
    """What the clock needs of a daemon: the store, the queue, and the dispatcher's gates."""
    store = Store(StatePaths(state).make())

    def ask(asked, *, wish=None, origin="daemon"):
        return store.queue.add(asked, wish=wish, origin=origin)

    return SimpleNamespace(
        store=store, ask=ask, dispatcher=SimpleNamespace(gates=[]), hub=SimpleNamespace(listeners=[])
    )


def main() -> None:
    clock = Clock()
    clock.start(daemon(Path(sys.argv[1])))
    print("started", flush=True)
    time.sleep(float(sys.argv[2]))
    clock.stop()


if __name__ == "__main__":
    main()
