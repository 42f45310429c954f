"""One fetch for all who asked before it began, and another for who asks later."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from deployd.daemon import fetching
from deployd.errors import SourceError
from deployd.stages.source.mirror import Mirror


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """How often was fetched; each fetch waits for `go`."""
    calls, go = [], threading.Event()

    def fetch(repository, *, mirrors, cancel):
        del mirrors, cancel
        calls.append(repository)
        assert go.wait(20)
        return Mirror(tmp_path, repository)

    monkeypatch.setattr(fetching, "fetch", fetch)
    return calls, go


def test_one_fetch_serves_all_who_asked_before_it_began(fetched, tmp_path):
    calls, go = fetched
    fetches, asked = fetching.Fetches(), time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(fetches.get, "a", mirrors=tmp_path, asked=asked) for _ in range(8)]
        go.set()
        assert {one.result(20).repository for one in found} == {"a"}
    assert calls == ["a"]


def test_who_asks_while_one_goes_on_gets_another(fetched, tmp_path):
    calls, go = fetched
    fetches = fetching.Fetches()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fetches.get, "a", mirrors=tmp_path, asked=time.monotonic())
        deadline = time.monotonic() + 20
        while not calls and time.monotonic() < deadline:
            time.sleep(0.01)
        second = pool.submit(fetches.get, "a", mirrors=tmp_path, asked=time.monotonic())
        go.set()
        first.result(20)
        second.result(20)
    fetches.get("b", mirrors=tmp_path, asked=0)
    assert calls == ["a", "a", "b"]


def test_a_fetch_that_fails_serves_nobody(monkeypatch, tmp_path):
    calls = []

    def fetch(repository, **_):
        calls.append(repository)
        raise SourceError("could not be fetched", code="fetch-failed", fix="try again")

    monkeypatch.setattr(fetching, "fetch", fetch)
    fetches = fetching.Fetches()
    for _ in range(2):
        with pytest.raises(SourceError):
            fetches.get("a", mirrors=tmp_path, asked=0)
    assert calls == ["a", "a"]
