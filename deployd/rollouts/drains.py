"""Hosts that a rollout takes out of what a load balancer asks, while it flips them; options come in, waiting goes on.

Only where `drain_wait` is set and the hosts are flipped in waves. A host that an operator drained stays drained.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from deployd.domain.events import Event
from deployd.errors import HostError
from deployd.rollouts.wishes import RollbackWish

if TYPE_CHECKING:
    from collections.abc import Collection

    from deployd.domain.ids import HostName
    from deployd.rollouts.rollout import Rollout

_LOOK = 0.5  # seconds between two looks at what is open


def take_out(rollout: Rollout, hosts: Collection[HostName]) -> None:
    """Drain the app on these hosts, let a load balancer notice, and wait for open requests as long as `run.drain`.

    A host that cannot is told, and flipped all the same: that drops nothing either. Going back waits for nobody.
    """
    waves = rollout.options.waves
    if not waves.drain_wait or waves.strategy == "all" or isinstance(rollout.wish, RollbackWish):
        return
    if not hosts or len(hosts) >= len(rollout.hosts):
        return  # nothing is live there; or all at once would leave the load balancer nobody
    _say(rollout, hosts, on=True)
    rollout.control.wait(waves.drain_wait)
    until = time.monotonic() + rollout.options.run.drain
    while time.monotonic() < until and _open(rollout, hosts):
        rollout.control.wait(_LOOK)


def give_back(rollout: Rollout, hosts: Collection[HostName]) -> None:
    """End what `take_out` began; does no harm where nothing was begun."""
    if rollout.options.waves.drain_wait:
        _say(rollout, hosts, on=False)


def _say(rollout: Rollout, hosts: Collection[HostName], *, on: bool) -> None:
    place = (rollout.app, rollout.environment)
    told = rollout.pool.each(list(hosts), lambda helper: helper.drain(on=on, place=place, by="rollout"))
    for name, one in told.items():
        if isinstance(one, HostError):
            how = "taken out of" if on else "given back to"
            rollout.report(
                Event.WARNING, host=name, what=f"{name} was not {how} the load balancer: {one.what}", code=one.code
            )


def _open(rollout: Rollout, hosts: Collection[HostName]) -> int:
    place = (rollout.app, rollout.environment)
    looked = rollout.pool.each(list(hosts), lambda helper: helper.drain(on=None, place=place))
    return sum(0 if isinstance(one, HostError) else one.open or 0 for one in looked.values())
