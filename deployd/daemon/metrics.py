"""What Prometheus scrapes: counters that the daemon's parts raise, and gauges that are read when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from deployd.daemon.visitors import Visitors

if TYPE_CHECKING:
    from deployd.store import Store

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)


class Metrics:
    """One registry of this daemon's own; parts may add theirs to `registry`."""

    def __init__(self, store: Store) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.asks = Counter("deployd_asks", "Asks taken into the queue", ("kind", "cause"), registry=self.registry)
        self.rollouts = Counter(
            "deployd_rollouts",
            "Rollouts at their end",
            ("kind", "app", "environment", "outcome"),
            registry=self.registry,
        )
        self.duration = Histogram(
            "deployd_rollout_seconds", "How long rollouts took", ("kind",), buckets=_SECONDS, registry=self.registry
        )
        self.refused = Counter(
            "deployd_requests_refused", "Requests that the door refused", ("reason",), registry=self.registry
        )
        self.visitors = Visitors()
        self.registry.register(self.visitors)
        waiting = Gauge("deployd_asks_waiting", "Asks that wait", registry=self.registry)
        waiting.set_function(lambda: len(store.queue.waiting()))
        running = Gauge("deployd_rollouts_running", "Rollouts that are not at their end", registry=self.registry)
        running.set_function(lambda: len(store.rollouts.unfinished()))

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)
