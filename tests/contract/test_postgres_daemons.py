"""Two real daemons on one PostgreSQL database: who takes what, and what becomes of it when one is killed."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from deployd.paths import StatePaths
from deployd.store import Store, presence
from tests.contract.test_daemon_life import (
    CLIENTS,
    back,
    client_of,
    live,
    quiet,
    release,
    wish,
)
from tests.support.daemons import Served
from tests.support.stopping import stop

LEASE = 6.0  # seconds: a daemon on a busy machine gives signs of life late


class Both:
    """Daemons with a state folder each, on one database and one fleet."""

    def __init__(self, folder, url) -> None:
        self.folder, self.url = folder, url
        self.started: list[Served] = []
        self.store = Store(StatePaths(folder / "outside").make(), url)
        self.store.keyring.check()

    def start(self, *names: str, lease: float | None = LEASE, env=None, **options) -> list[Served]:
        """Start daemons, side by side; each has the key that a second machine gets from the first."""
        settings = {"DEPLOYD_DATABASE_URL": self.url, **({"DRIVE_LEASE": str(lease)} if lease else {}), **(env or {})}
        for name in names:
            shutil.copy(self.store.paths.key, StatePaths(self.folder / name).make().key)

        def begin(name: str) -> Served:
            made = Served(self.folder, state=name, env=settings, **options)
            self.started.append(made)
            return made

        with ThreadPoolExecutor() as pool:
            made = list(pool.map(begin, names))
        assert all(one.ready for one in made), [one.log.read_text() for one in made]
        return made

    def ask_of(self, served: Served, *refs: str):
        """Ask for releases until this daemon is the one that takes one; returns its id."""
        for ref in refs:
            rollout = client_of(served).ask(wish(ref))
            owner = self.until(lambda rollout=rollout: self.store.queue.owner_of(rollout))
            if owner.startswith(f"{served.process.pid}:"):
                return rollout
            self.ended(rollout)
        raise AssertionError(refs)

    def until(self, done, *, seconds: float = 90):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = done()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError([(one.id, one.kind, one.state, one.error) for one in self.store.rollouts.latest()])

    def record(self, rollout):
        return self.until(lambda: self.store.rollouts.find(rollout))

    def ended(self, rollout, *, seconds: float = 90):
        self.until(lambda: (one := self.store.rollouts.find(rollout)) and one.finished, seconds=seconds)
        return self.store.rollouts.get(rollout)

    def state_is(self, rollout, *states):
        self.until(lambda: (one := self.store.rollouts.find(rollout)) and one.state in states)

    def close(self) -> None:
        for client in [one for one in CLIENTS if one.paths.root.is_relative_to(self.folder)]:
            CLIENTS.remove(client)
            client.close()
        for one in self.started:
            if one.process.poll() is None:
                one.process.kill()
                one.wait()
        self.store.close()


@pytest.fixture
def both(tmp_path, postgres):
    made = Both(tmp_path, postgres.database())
    yield made
    made.close()


def kill(served: Served) -> None:
    served.process.send_signal(signal.SIGKILL)
    served.wait()


def test_each_daemon_takes_rollouts_and_both_tell_all_of_them(both):
    one, two = both.start("one", "two")
    first = release(one, "one")
    second = release(two, "two")

    assert live(one) == {second.release}
    told: list[str] = []
    rollout = client_of(one).ask(wish("three"))
    result = client_of(two).follow(rollout, report=lambda event, **_: told.append(str(event)), cancel=threading.Event())
    assert result.outcome == "live"
    assert told[0] == "rollout_started"
    assert told[-1] == "rollout_finished"
    assert client_of(two).rollback(back(), report=quiet, cancel=threading.Event()).release == second.release
    assert first.release != second.release
    leads = [served for served in (one, two) if served.told("clock_taken")]
    assert len(leads) == 1
    assert leads[0].close() == 0  # in order: the other one has the clock at once
    other = one if leads[0] is two else two
    both.until(lambda: other.told("clock_taken"))


def test_one_app_is_worked_on_by_one_daemon_at_a_time_and_the_other_cancels_it(both):
    one, two = both.start("one", "two", env={"DRIVE_BUILD_S": "600"})
    first = both.ask_of(one, "one")
    both.state_is(first, "building")
    second = client_of(two).ask(wish("two"))
    both.until(lambda: "runs in another process" in (both.store.queue.get(second).reason or ""))
    assert both.store.rollouts.find(second) is None
    assert client_of(two).cancel(first) == first
    assert both.ended(first).outcome == "cancelled"
    both.state_is(second, "building")
    assert both.store.queue.get(first).outcome == "cancelled"


def test_what_a_daemon_leaves_is_taken_over_wherever_it_died(tmp_path, postgres):
    """Side by side, because most of it is waiting for a lease to run out."""
    scenarios = (killed_in_the_build, killed_before_it_shipped, killed_while_it_flipped, stopped_and_woken)

    def play(scenario) -> None:
        (tmp_path / scenario.__name__).mkdir()
        both = Both(tmp_path / scenario.__name__, postgres.database())
        try:
            scenario(both)
        finally:
            both.close()

    with ThreadPoolExecutor() as pool:
        played = {scenario.__name__: pool.submit(play, scenario) for scenario in scenarios}
    assert {name: done.exception() for name, done in played.items() if done.exception()} == {}


def pair(both, *, lease: float | None = LEASE, **bad):
    """Two daemons; the first one with a fault, or with a build that does not end."""
    with ThreadPoolExecutor() as pool:
        first = pool.submit(both.start, "one", lease=lease, **bad)
        second = pool.submit(both.start, "two", lease=lease)
    return first.result()[0], second.result()[0]


def killed_in_the_build(both) -> None:
    """With the lease as it is by itself: soon after a kill -9 it is live, 30 s where nothing else runs."""
    one, two = pair(both, lease=None, env={"DRIVE_BUILD_S": "600"})
    rollout = both.ask_of(one, "one", "two", "three", "four")
    both.until(lambda: stages(both, rollout).count("source") == 2)
    one.process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    one.wait()
    assert_live(both, rollout, two)
    assert presence.LEASE <= 15
    assert time.monotonic() - killed < 60
    assert stages(both, rollout).count("source") == 4  # begun and ended, on each machine


def killed_before_it_shipped(both) -> None:
    killed_at(both, "before:ship")


def killed_while_it_flipped(both) -> None:
    killed_at(both, "done:flip")


def killed_at(both, point: str) -> None:
    one, two = pair(both, fault=f"{point}=kill")
    rollout = both.ask_of(one, "one", "two", "three", "four")
    assert one.wait() == -signal.SIGKILL
    assert_live(both, rollout, two)
    both.until(lambda: both.store.queue.get(rollout).state == "done")


def stopped_and_woken(both) -> None:
    """SIGSTOP, as a machine that hangs: its rollout is taken over, a newer release is made, and then it wakes up."""
    one, two = pair(both, fault="before:flip=pause:3")
    rollout = both.ask_of(one, "one", "two", "three", "four")
    both.until(lambda: stages(both, rollout).count("prepare") == 2)
    stop(one.process.pid)
    assert_live(both, rollout, two)
    newest = release(two, "newest")
    one.process.send_signal(signal.SIGCONT)
    ended = ("rollout_failed", "rollout_ended")  # refused, or given what the other daemon made of it
    both.until(lambda: any(line["rollout"] == rollout for event in ended for line in one.told(event)))
    assert live(two) == {newest.release}
    assert both.store.rollouts.get(rollout).outcome == "live"
    assert release(one, "after").outcome == "live"


def assert_live(both, rollout, served) -> None:
    record = both.ended(rollout)
    assert (record.outcome, record.error) == ("live", None)
    assert live(served) == {record.release}


def stages(both, rollout) -> list[str]:
    return [one.fields["stage"] for one in both.store.events.of(rollout) if one.event.startswith("stage_")]
