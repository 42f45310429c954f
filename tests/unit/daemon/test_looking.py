"""The dispatcher's looks at the queue: how long it rests after one."""

from __future__ import annotations

import time
from types import SimpleNamespace

from deployd.daemon import queue
from deployd.daemon.queue import LOOK_EVERY, Dispatcher


def test_a_database_that_was_away_for_long_makes_no_long_rest(monkeypatch):
    """A look that waited half a minute for the database was followed by two minutes in which nothing was begun."""
    passed = [0.0]
    monkeypatch.setattr(queue, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0]))
    looked, rested = [], []

    def waiting():
        looked.append(1)
        passed[0] += 40.0  # the store's own patience
        raise OSError

    store = SimpleNamespace(
        database=SimpleNamespace(shared=False), queue=SimpleNamespace(waiting=waiting, running=lambda: ())
    )
    made = Dispatcher(store=store, workshop=None, hub=None, metrics=None, settings={})

    def rest(seconds):
        rested.append(seconds)
        made._stopping.set()

    made._urgent = SimpleNamespace(wait=rest, clear=lambda: None)
    made.wake()
    made._loop()
    assert looked == [1]
    assert rested == [LOOK_EVERY]
