"""Taking the app's lock on hosts: an earlier attempt's own lock is taken over, another's is waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from deployd.domain.ids import AppName, EnvironmentName, HostName, RolloutId
from deployd.errors import HostLockedError
from deployd.hosts.replies import Holder
from deployd.rollouts.leases import Leases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from deployd.hosts.pool import Pool

OURS = RolloutId.new()
HOST = HostName("web1")


@dataclass
class Host:
    """A host whose lock `rollout` has; `unlock` frees it."""

    rollout: str | None = None
    calls: list[str] = field(default_factory=list)
    name: HostName = HOST

    def hold(self, *_: object, rollout: str, wait: float, **__: object) -> Any:
        self.calls.append(f"hold {wait:g}")
        if self.rollout:
            raise HostLockedError("held", host=HOST, live="unchanged", fix="wait")
        self.rollout = rollout
        return cast("Any", Lease())

    def holder(self, *_: object) -> Holder:
        self.calls.append("holder")
        return Holder(held=self.rollout is not None, rollout=self.rollout)

    def unlock(self, *_: object) -> None:
        self.calls.append("unlock")
        self.rollout = None


class Lease:
    lost = False
    current = None


class OnePool:
    def __init__(self, host: Host) -> None:
        self.host = host

    def each(self, names: Iterable[HostName], do: Callable[[Any], Any]) -> dict[HostName, Any]:
        outcomes: dict[HostName, Any] = {}
        for name in names:
            try:
                outcomes[name] = do(self.host)
            except HostLockedError as error:
                outcomes[name] = error
        return outcomes


def leases(host: Host) -> Leases:
    return Leases(
        cast("Pool", OnePool(host)), app=AppName("shop"), environment=EnvironmentName("production"), who="ada", rollout=OURS
    )  # fmt: skip


def test_a_free_lock_is_taken_with_one_call() -> None:
    host = Host()

    assert isinstance(leases(host).hold([HOST])[HOST], Lease)
    assert host.calls == ["hold 0"]


def test_the_lock_of_an_earlier_attempt_is_taken_over_at_once() -> None:
    host = Host(rollout=OURS)

    assert isinstance(leases(host).hold([HOST])[HOST], Lease)
    assert host.calls == ["hold 0", "holder", "unlock", "hold 3"]


@pytest.mark.parametrize("other", [RolloutId.new(), ""])
def test_anothers_lock_is_waited_for_and_never_broken(other: str) -> None:
    host = Host(rollout=other or "somebody's")

    assert isinstance(leases(host).hold([HOST])[HOST], HostLockedError)
    assert "unlock" not in host.calls
    assert host.calls[-1] == "hold 3"
