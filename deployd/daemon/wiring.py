"""The composition root: a state folder and settings come in, one `Daemon` goes out, with all that its parts share.

For those who add parts (webhooks, the clock, notifications):

    daemon.ask(Ask(...)) -> (rollout id, fresh)   one insert, milliseconds, from any thread. The id is the rollout's id
                                                  from the first moment. `fresh` is False when the key was asked before.
    daemon.store.apps / .queue / .tokens / .audit what is kept (store/)
    daemon.dispatcher.gates.append(gate)          `gate(QueuedAsk) -> str | None`: why it must still wait (a freeze);
                                                  `daemon.dispatcher.wake()` when that may have changed
    daemon.hub.listeners.append(listener)         `listener(Told)` in a thread of its own, for every event of every
                                                  rollout: notifications, statuses at forges. It may fail
    daemon.parts.append(part)                     started after the past is settled, stopped before the dispatcher
    api/app.py ROUTERS                            where a part's routes are added

A push whose environment is not known yet asks with `environment=EnvironmentName("")` and its `branch`: the dispatcher
reads `deployd.toml` of that commit and finds the environments of the branch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from deployd.daemon.collector import Collector
from deployd.daemon.hooks.intake import AtHand, Intake
from deployd.daemon.hub import Hub
from deployd.daemon.metrics import Metrics
from deployd.daemon.queue import Dispatcher
from deployd.hosts.shelf import Shelf
from deployd.rollouts.workshop import Workshop
from deployd.settings import database_url
from deployd.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deployd.domain.ask import Ask
    from deployd.domain.host import Host
    from deployd.domain.ids import RolloutId
    from deployd.hosts.pool import Pool
    from deployd.paths import StatePaths
    from deployd.rollouts.locks import FileLock


class Part(Protocol):
    """Something that lives as long as the daemon: the clock, the previews' reconciler."""

    name: str

    def start(self, daemon: Daemon) -> None:
        """Begin; comes back at once."""

    def stop(self) -> None:
        """End, within a second or two."""


@dataclass(slots=True, kw_only=True)
class Daemon:
    """All that the daemon's parts share."""

    paths: StatePaths
    settings: dict[str, Any]
    store: Store
    workshop: Workshop
    hub: Hub
    metrics: Metrics
    dispatcher: Dispatcher
    hooks: Intake
    hook_secrets: AtHand
    collector: Collector = field(default_factory=Collector)
    parts: list[Part] = field(default_factory=list)
    leads: Callable[[], bool] = lambda: True
    """Whether this daemon does what is done once for all that share its database."""

    def change_settings(self, fresh: Mapping[str, Any]) -> None:
        """Put other settings in force; the parts read them when they need them."""
        for name in set(self.settings) - set(fresh):
            del self.settings[name]
        self.settings.update(fresh)
        self.dispatcher.wake()

    def ask(self, ask: Ask, *, wish: Mapping[str, Any] | None = None, origin: str = "daemon") -> tuple[RolloutId, bool]:
        """Put an ask into the queue; returns its id (the rollout's) and whether it is new."""
        rollout, fresh = self.store.queue.add(ask, wish=wish, origin=origin)
        if fresh:
            self.metrics.asks.labels(kind=ask.kind, cause=ask.cause).inc()
            self.dispatcher.wake(urgent=ask.kind == "rollback")
        return rollout, fresh


def make(
    paths: StatePaths,
    settings: dict[str, Any],
    *,
    folder: FileLock,
    connect: Callable[[Sequence[Host]], Pool] | None = None,
) -> Daemon:
    """Wire a daemon; `folder` is the state folder's lock, held. Nothing is started."""
    store = Store(paths.make(), database_url(settings))
    hub, metrics = Hub(), Metrics(store)
    builds = int(settings.get("builds") or 1)
    connect = connect or Shelf(paths).pool
    workshop = Workshop(paths, store, who="deployd", connect=connect, folder=folder, builds=builds)
    dispatcher = Dispatcher(store=store, workshop=workshop, hub=hub, metrics=metrics, settings=settings)
    hooks = Intake(store.deliveries)
    dispatcher.busy = hooks.busy
    return Daemon(
        paths=paths,
        settings=settings,
        store=store,
        workshop=workshop,
        hub=hub,
        metrics=metrics,
        dispatcher=dispatcher,
        hooks=hooks,
        hook_secrets=AtHand(store.secrets),
        parts=_parts(),
    )


def _parts() -> list[Part]:
    """The parts beside the dispatcher; each part's owner adds a line."""
    from deployd.daemon.announcing import Announcer
    from deployd.daemon.clock import Clock
    from deployd.daemon.previews import Reconciler
    from deployd.daemon.renewer import Renewer
    from deployd.daemon.tidier import Tidier

    return [Clock(), Announcer(), Reconciler(), Tidier(), Renewer()]
