"""The part that changes what is live: waves of hosts are flipped and looked at, and what each flip kept goes out;
then the traffic is watched, where that is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.rollouts import baking, fleet
from deployd.rollouts.steps import Step

if TYPE_CHECKING:
    from collections.abc import Collection

    from deployd.domain.ids import HostName, ReleaseId
    from deployd.domain.options import Probe, Waves
    from deployd.rollouts.fleet import Previous
    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.runner import Runner
    from deployd.rollouts.values import Json


def go_live(
    run: Runner,
    rollout: Rollout,
    made: ReleaseId,
    previous: Previous,
    *,
    waves: Waves,
    probe: Probe,
    flips: list[Json],
) -> None:
    """Flip the hosts, wave after wave, and look through the web server after each. `flips` gets what each flip kept.

    The first wave's visitors are watched before the next wave goes, and all hosts' after the last one.
    """
    every = fleet.waves(tuple(previous), waves)
    for number, wave in enumerate(every):
        if number:
            run.step(Step.PAUSE, rollout.control.wait, max(waves.pause, waves.drain_wait))
        flips.append(run.step(Step.FLIP, fleet.flip, rollout, made, {name: previous[name] for name in wave}))
        fleet.check_flipped(flips[-1])
        run.step(Step.PROBE, fleet.probe_web, rollout, made, wave, probe)
        first, others = _parted(previous, wave)
        if waves.bake and number == 0 and others and any(first.values()) and run.is_new("bake-first-wave"):
            run.step(Step.BAKE, baking.bake, rollout, made, first, others)
    if waves.bake and any(previous.values()):
        run.step(Step.BAKE, baking.bake, rollout, made, previous)


def _parted(previous: Previous, wave: Collection[HostName]) -> tuple[Previous, Previous]:
    """What the hosts of a wave had before, and what the others have."""
    mine = {name: release for name, release in previous.items() if name in wave}
    return mine, {name: release for name, release in previous.items() if name not in wave}
