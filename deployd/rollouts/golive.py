"""The part that changes what is live: waves of hosts are flipped and looked at, and what each flip kept goes out;
then the traffic is watched, where that is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.rollouts import baking, fleet
from deployd.rollouts.steps import Step

if TYPE_CHECKING:
    from deployd.domain.ids import ReleaseId
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
    """Flip the hosts, wave after wave, and look through the web server after each. `flips` gets what each flip kept."""
    for wave in fleet.waves(tuple(previous), waves):
        if flips:
            run.step(Step.PAUSE, rollout.control.wait, max(waves.pause, waves.drain_wait))
        flips.append(run.step(Step.FLIP, fleet.flip, rollout, made, {name: previous[name] for name in wave}))
        fleet.check_flipped(flips[-1])
        run.step(Step.PROBE, fleet.probe_web, rollout, made, wave, probe)
    if waves.bake and any(previous.values()):
        run.step(Step.BAKE, baking.bake, rollout, made, previous)
