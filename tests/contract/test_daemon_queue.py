"""The queue of a real daemon: what waits, what is replaced, what takes over; pushes find their environments by branch."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import replace

import pytest

from deployd.domain.ask import Ask
from deployd.domain.ids import EnvironmentName
from deployd.domain.secret import Secret
from deployd.errors import CancelledError, DeploydError, NotFoundError, SourceError, SupersededError
from deployd.remote.client import RemoteClient
from deployd.remote.connection import Connection, Daemon
from deployd.store import Store
from tests.contract.test_daemon_life import (
    CLIENTS,
    NAMES,
    PRODUCTION,
    SHOP,
    back,
    building,
    client_of,
    live,
    quiet,
    release,
    serve,
    settled,
    wish,
)

__all__ = ["serve"]
FILE = """
name = "shop"
[environments.production]
branch = "main"
hosts = ["web1", "web2", "web3"]
[environments.staging]
branch = "next"
hosts = ["web1"]
"""


@pytest.fixture
def repository(tmp_path):
    """A real repository with the branches main, next and other."""
    place = tmp_path / "repository"
    place.mkdir()
    git(place, "init", "-q", "-b", "main")
    (place / "deployd.toml").write_text(FILE)
    git(place, "add", ".")
    commit(place, "first")
    git(place, "branch", "next")
    git(place, "branch", "other")
    return place


def git(place, *words: str) -> str:
    env = {
        **os.environ,
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    return subprocess.run(
        ["git", *words], cwd=place, check=True, capture_output=True, text=True, env=env
    ).stdout.strip()


def commit(place, text: str) -> str:
    git(place, "commit", "-q", "--allow-empty", "-m", text)
    return git(place, "rev-parse", "HEAD")


def changed(place, text: str) -> str:
    (place / "page").write_text(text)
    git(place, "add", ".")
    return commit(place, text)


def push(branch: str, commit: str | None = None, **changes) -> Ask:
    return Ask(
        kind="release", app=SHOP, environment=EnvironmentName(""), cause="push", who="a push", branch=branch,
        commit=commit, automatic=True, **changes,
    )  # fmt: skip


class Queue:
    """The daemon's store, for asking as a webhook does: the dispatcher looks every five seconds, or when it is woken."""

    def __init__(self, served) -> None:
        self.store = Store(client_of(served).paths, served.database)
        self.client = client_of(served)

    def ask(self, ask: Ask):
        rollout, fresh = self.store.queue.add(ask)
        self.client.unpin(SHOP, PRODUCTION)  # wakes the dispatcher
        return rollout if fresh else None

    def ended(self, rollout, seconds: float = 90):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.store.queue.get(rollout)
            if found.state == "done":
                return found
            time.sleep(0.05)
        raise AssertionError(self.store.queue.get(rollout))


def test_a_push_goes_to_the_environment_of_its_branch(serve, repository):
    served = serve()
    queue = Queue(served)
    queue.client.add_app(SHOP, repository=str(repository), subdir="")
    staging, nowhere = queue.ask(push("next")), queue.ask(push("other"))

    found = queue.ended(staging)
    assert (found.outcome, found.ask.environment) == ("live", "staging")
    assert found.ask.commit == git(repository, "rev-parse", "next")
    assert queue.ended(nowhere).outcome == "ignored"
    assert "branch other" in queue.store.queue.get(nowhere).reason
    queue.store.close()


def test_a_push_replaces_those_of_its_branch_that_wait_and_a_key_counts_once(serve, repository):
    builds = repository.parent / "builds-go-on"
    builds.touch()
    served = serve(env={"DRIVE_BUILD_FILE": str(builds)})
    queue = Queue(served)
    queue.client.add_app(SHOP, repository=str(repository), subdir="")
    first = queue.ask(push("main", commit(repository, "1")))
    building(served, first)
    second = queue.ask(push("main", commit(repository, "2"), key="delivery-2"))
    assert queue.ask(push("main", key="delivery-2")) is None
    wait_for_reason(queue, second, "runs")
    third = queue.ask(push("main", commit(repository, "3")))
    assert queue.ended(second).outcome == "superseded"
    builds.unlink()

    outcomes = [queue.ended(one).outcome for one in (first, second, third)]
    assert outcomes == ["live", "superseded", "live"]
    assert queue.store.rollouts.find(second) is None
    with pytest.raises(SupersededError):
        queue.client.attend(second, report=quiet, cancel=threading.Event())
    queue.store.close()


def test_a_pinned_environment_takes_pushes_when_it_is_unpinned(serve, repository):
    served = serve()
    queue = Queue(served)
    queue.client.add_app(SHOP, repository=str(repository), subdir="")
    queue.client.pin(SHOP, PRODUCTION)
    rollout, _ = queue.store.queue.add(push("main"))
    queue.client.pin(SHOP, EnvironmentName("staging"))
    wait_for_reason(queue, rollout, "pinned by root")
    assert queue.client.waiting(SHOP)[0]["id"] == rollout
    queue.client.unpin(SHOP, PRODUCTION)
    assert queue.ended(rollout).outcome == "live"
    queue.store.close()


def test_what_a_rollback_finds_waiting_does_not_overtake_it_and_a_newer_commit_goes(serve, repository):
    served = serve()
    queue = Queue(served)
    queue.client.add_app(SHOP, repository=str(repository), subdir="")
    for text in ("good", "bad"):
        assert queue.ended(queue.ask(push("main", changed(repository, text)))).outcome == "live"
    good = queue.client.releases(SHOP, PRODUCTION)[1].id
    queue.client.agenda.freeze(SHOP, PRODUCTION, timezone="UTC", within=600)
    waits, _ = queue.store.queue.add(push("main", changed(repository, "on top of what is bad")))
    queue.client.rollback(back(), report=quiet, cancel=threading.Event())
    queue.client.agenda.unfreeze(SHOP, PRODUCTION)
    wait_for_reason(queue, waits, "after this was asked for")
    assert live(served) == {good}

    fix, _ = queue.store.queue.add(push("main", changed(repository, "the fix")))
    assert queue.ended(fix).outcome == "live"
    assert queue.ended(waits).outcome == "superseded"
    queue.store.close()


def test_what_somebody_released_during_a_freeze_is_not_overtaken_by_what_waited_for_its_end(serve, repository):
    served = serve()
    queue = Queue(served)
    queue.client.add_app(SHOP, repository=str(repository), subdir="")
    queue.client.agenda.freeze(SHOP, PRODUCTION, timezone="UTC", within=600)
    waits, _ = queue.store.queue.add(push("main", changed(repository, "a feature")))
    wait_for_reason(queue, waits, "frozen")
    fixing = wish("the hotfix", during_freeze=True)
    by_hand = queue.client.release(fixing, report=quiet, cancel=threading.Event()).release
    queue.client.agenda.unfreeze(SHOP, PRODUCTION)
    ended = queue.ended(waits)
    assert (ended.outcome, "went live" in ended.reason) == ("superseded", True)
    assert live(served) == {by_hand}
    queue.store.close()


def wait_for_reason(queue: Queue, rollout, text: str) -> None:
    deadline = time.monotonic() + 90
    while text not in (queue.store.queue.get(rollout).reason or ""):
        assert time.monotonic() < deadline, queue.store.queue.get(rollout)
        time.sleep(0.1)


def test_one_at_a_time_for_a_place_and_others_side_by_side(serve, tmp_path):
    builds = tmp_path / "builds-go-on"
    builds.touch()
    served = serve(env={"DRIVE_BUILD_FILE": str(builds), "DEPLOYD_BUILDS": "3"})
    client = client_of(served)
    here = [replace(wish(ref), hosts=NAMES[:1]) for ref in ("one", "two")]
    beside = replace(wish("one"), environment=EnvironmentName("staging"), hosts=NAMES[1:])
    asked = [client.ask(one) for one in (*here, beside)]
    building(served, asked[0], asked[2])
    assert {one.id for one in client.rollouts(limit=10)} == {asked[0], asked[2]}
    builds.unlink()
    results = [client.attend(one, report=quiet, cancel=threading.Event()) for one in asked]
    assert {one.outcome for one in results} == {"live"}
    records = {one.id: one for one in client.rollouts(limit=10)}
    assert records[asked[0]].finished <= records[asked[1]].created
    assert records[asked[2]].created < records[asked[0]].finished


def test_a_rollback_does_not_wait_for_a_release(serve):
    served = serve()
    first = release(served, "one")
    release(served, "two")
    served.close()
    served = serve(env={"DRIVE_BUILD_S": "60"})
    client, told = client_of(served), []
    running = client.ask(wish("three"))
    building(served, running)
    began = time.monotonic()
    result = client.rollback(back(), report=lambda event, **_: told.append(str(event)), cancel=threading.Event())
    assert (result.outcome, result.release) == ("live", first.release)
    assert time.monotonic() - began < 30
    with pytest.raises(SupersededError):
        client.attend(running, report=quiet, cancel=threading.Event())
    assert live(served) == {first.release}


def test_cancel_reaches_what_runs_and_what_waits(serve):
    served = serve(env={"DRIVE_BUILD_S": "60"})
    client = client_of(served)
    running, waiting = client.ask(wish("one")), client.ask(wish("two"))
    building(served, running)
    assert client.cancel(waiting) == waiting
    assert client.cancel(None, SHOP, PRODUCTION) == running
    for rollout in (running, waiting):
        with pytest.raises(CancelledError):
            client.attend(rollout, report=quiet, cancel=threading.Event())
    with pytest.raises(NotFoundError):
        client.cancel(running)
    assert settled(served).outcome == "cancelled"


def test_ctrl_c_of_a_client_cancels_its_rollout(serve):
    served = serve(env={"DRIVE_BUILD_S": "60"})
    cancel = threading.Event()
    threading.Timer(0.7, cancel.set).start()
    with pytest.raises(CancelledError):
        client_of(served).release(wish("one"), report=quiet, cancel=cancel)
    assert settled(served).outcome == "cancelled"


def test_a_stream_goes_on_where_it_was_cut(serve):
    served = serve()
    client = client_of(served)
    rollout = client.ask(wish("one"))
    client.attend(rollout, report=quiet, cancel=threading.Event())
    link = Connection(client.daemon)
    everything = seqs_of(link.stream(f"/v1/rollouts/{rollout}/events"))
    assert everything == sorted(set(everything))
    middle = everything[len(everything) // 2]
    rest = seqs_of(link.stream(f"/v1/rollouts/{rollout}/events", last=middle))
    assert rest == [seq for seq in everything if seq > middle]
    served.close()

    again = client_of(serve())
    kept = list(Connection(again.daemon).stream(f"/v1/rollouts/{rollout}/events", last=middle))
    assert [fields["seq"] for _, fields in kept[:-1]] == rest
    assert kept[-1][1]["outcome"] == "live"


def seqs_of(stream) -> list[int]:
    return [fields["seq"] for name, fields in stream if name != "end"]


def test_from_elsewhere_by_token_a_commit_must_have_been_pushed(serve, repository, tmp_path):
    served = serve(listen="127.0.0.1:0")
    here = client_of(served)
    here.add_app(SHOP, repository=str(repository), subdir="")
    _, text = here.create_token(scope="release", apps=[SHOP], expires_in=60, note="ada's laptop")
    laptop = tmp_path / "laptop"
    git(tmp_path, "clone", "-q", str(repository), str(laptop))
    away = RemoteClient(Daemon(url=f"http://127.0.0.1:{served.port}", token=Secret(text)), here.paths, who="ada")
    CLIENTS.append(away)

    def from_laptop():
        made = wish("HEAD")
        source = replace(made.source, repository=str(laptop))
        return away.release(replace(made, source=source), report=quiet, cancel=threading.Event())

    assert from_laptop().outcome == "live"
    commit(laptop, "not pushed")
    with pytest.raises(SourceError) as caught:
        from_laptop()
    assert caught.value.code == "commit-not-pushed"
    with pytest.raises(DeploydError) as dirty:
        away.ask(replace(wish("HEAD"), source=replace(wish("HEAD").source, dirty=True)))
    assert dirty.value.code == "daemon-needs-commit"
    assert {one.who for one in here.rollouts()} == {"ada's laptop"}
    with pytest.raises(DeploydError) as not_ours:
        _ = away.store
    assert not_ours.value.code == "daemon-only-there"
