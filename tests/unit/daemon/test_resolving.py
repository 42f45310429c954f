"""Pushes whose environments are looked for: a repository that does not answer holds up no other, and is let go."""

from __future__ import annotations

import threading
import time

import pytest

from deployd.daemon import resolving
from deployd.domain.ask import Ask
from deployd.domain.ids import AppName, EnvironmentName
from deployd.errors import SourceError


def push(app: str, branch: str) -> Ask:
    return Ask(
        kind="release", app=AppName(app), environment=EnvironmentName(""), cause="push", who="t", branch=branch,
        automatic=True,
    )  # fmt: skip


def until(true, *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def dispatcher(frame, monkeypatch):
    """A dispatcher that runs; the repository of `dead` answers nobody until whoever asked is cancelled."""
    asked: list[tuple[str, threading.Event]] = []

    def places_of(ask, *, cancel, **_rest):
        asked.append((str(ask.app), cancel))
        if ask.app == "dead":
            assert cancel.wait(60)
            raise SourceError("git was cancelled", fix="")
        return (), "there is nothing"

    monkeypatch.setattr(resolving, "places_of", places_of)
    for name in ("dead", "shop"):
        frame.daemon.store.apps.put(AppName(name), repository=f"/{name}", subdir="", who="test")
    frame.daemon.dispatcher.start()
    yield frame.daemon, asked
    frame.daemon.dispatcher.stop(grace=0.0, hurry=threading.Event())
    for _, cancel in asked:
        cancel.set()


def test_a_repository_that_does_not_answer_holds_up_no_push_to_another(dispatcher):
    daemon, asked = dispatcher
    dead = [daemon.ask(push("dead", f"b{number}"))[0] for number in range(20)]
    until(lambda: len(asked) >= 4)
    alive, _ = daemon.ask(push("shop", "main"))
    until(lambda: daemon.store.queue.get(alive).outcome == "ignored")
    assert {daemon.store.queue.get(one).state for one in dead} == {"waiting"}


def test_a_push_that_is_replaced_or_cancelled_is_no_longer_fetched_and_keeps_its_end(dispatcher):
    daemon, asked = dispatcher
    first, _ = daemon.ask(push("dead", "main"))
    until(lambda: len(asked) == 1)
    second, _ = daemon.ask(push("dead", "main"))
    until(lambda: asked[0][1].is_set() and len(asked) == 2)
    assert daemon.dispatcher.cancel(second, who="ada")
    daemon.dispatcher.wake()
    until(asked[1][1].is_set)
    until(lambda: not daemon.dispatcher._resolving)
    assert [daemon.store.queue.get(one).outcome for one in (first, second)] == ["superseded", "cancelled"]
