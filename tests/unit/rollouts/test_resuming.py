"""What a dead process left on three folder hosts, and what `resume` makes of it."""

from __future__ import annotations

import pytest

from deployd.rollouts import locks
from deployd.rollouts.states import State


def kill(fleet, commit, point, monkeypatch):
    """As a SIGKILL: the recipe is left by an exception that nothing in it catches."""

    class KilledError(BaseException):
        pass

    def die(moment, name):
        if f"{moment}:{name}" == point:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("deployd.rollouts.runner.checkpoint", die)
        with pytest.raises(KilledError):
            fleet.release(commit)
    fleet.store.rollouts.set_owner(fleet.last().id, "1:1:gone")


def test_resume_leaves_a_rollout_whose_process_lives(fleet_of_three, monkeypatch):
    fleet = fleet_of_three
    kill(fleet, "one", "before:ship", monkeypatch)
    fleet.store.rollouts.set_owner(fleet.last().id, locks.name_of(1))

    assert fleet.resume() == []
    assert fleet.last().state == State.PREPARING


def test_resume_leaves_a_rollout_that_another_thread_of_this_process_runs(fleet_of_three, monkeypatch):
    fleet = fleet_of_three
    kill(fleet, "one", "before:ship", monkeypatch)
    fleet.store.rollouts.set_owner(fleet.last().id, locks.own_name())
    fleet.workshop.begin(fleet.last().id)

    assert fleet.resume() == []

    fleet.workshop.end(fleet.last().id)
    assert [result.outcome for result in fleet.resume()] == ["live"]


def test_resume_settles_a_rollout_whose_host_is_unknown_by_now(fleet_of_three, monkeypatch):
    fleet = fleet_of_three
    kill(fleet, "one", "before:ship", monkeypatch)
    fleet.store.hosts.remove(fleet.names[0])

    assert [result.outcome for result in fleet.resume()] == ["failed"]


def test_events_go_on_counting_after_a_resume(fleet_of_three, monkeypatch):
    fleet = fleet_of_three
    kill(fleet, "one", "done:ship", monkeypatch)
    [result] = fleet.resume()

    numbers = [one.seq for one in fleet.store.events.of(result.rollout)]
    assert numbers == sorted(set(numbers))
    assert fleet.told("rollout_started")[-1]["resumed"] is True
