"""Commit to live, in the order in which it happens. This is the whole story; each line's own story is in its module.

Nothing that is live changes before `go_live`; whatever fails before it has changed nothing, and whatever fails in it is
flipped back. After it the release is live, and nothing turns it back but a rollback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.domain.ids import ReleaseId
from deployd.errors import DeploydError
from deployd.rollouts import (
    beforehand,
    checkout,
    closing,
    consent,
    finishing,
    fleet,
    making,
    shipping,
    verifying,
    wayback,
)
from deployd.rollouts.golive import go_live
from deployd.rollouts.steps import Step
from deployd.rollouts.turnback import turn_back
from deployd.rollouts.wishes import PromoteWish, ReleaseWish

if TYPE_CHECKING:
    from deployd.rollouts.fleet import Previous
    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.runner import Runner
    from deployd.rollouts.values import Json


def release(run: Runner, rollout: Rollout) -> Json:
    """Make a release of what was wished, and bring it live (or leave it prepared)."""
    options, wish = rollout.options, rollout.wish
    made: ReleaseId | None = None
    previous: Previous | None = None
    flips: list[Json] = []
    built: Json | None = None
    try:
        fleet_kind = run.step(Step.CHECK, fleet.check, rollout)
        if isinstance(wish, ReleaseWish) and wish.source is not None:
            tree = run.step(Step.SOURCE, checkout.source, rollout)
            built = run.step(Step.BUILD, making.build, rollout, tree, fleet_kind)
            artifact = run.step(Step.PACKAGE, making.package, rollout, tree, built, fleet_kind)
        elif isinstance(wish, PromoteWish):
            artifact = run.step(Step.PACKAGE, making.take_over, rollout, fleet_kind)
        else:
            artifact = run.step(Step.PACKAGE, making.take_in, rollout, fleet_kind)
        made = ReleaseId(artifact["release"])
        if run.is_new("verify"):
            run.step(Step.VERIFY, verifying.verify, rollout, artifact, built, fleet_kind)
        previous = fleet.previous_of(run.step(Step.INTENT, fleet.intent, rollout))
        run.step(Step.SHIP, shipping.ship_to_all, rollout, artifact)
        if beforehand.is_wanted(rollout):
            run.step(Step.BEFORE, beforehand.run, rollout, made)
        run.step(Step.PREPARE, fleet.prepare, rollout, made, options.run, options.probe)
        if isinstance(wish, ReleaseWish | PromoteWish) and not wish.activate:
            run.sure(Step.RECORD, finishing.record_prepared, rollout, made)
            return closing.close(run, rollout, "prepared", release=made, previous=previous)
        if consent.is_wanted(rollout):
            run.sure(Step.RECORD, consent.ask_for, rollout, made)
            return closing.close(run, rollout, "waiting", release=made, previous=previous)
        if wayback.is_wanted(rollout):
            run.step(Step.ARM, wayback.arm, rollout, previous)
        go_live(run, rollout, made, previous, waves=options.waves, probe=options.probe, flips=flips)
    except DeploydError as error:
        return turn_back(run, rollout, error, release=made, previous=previous, flips=flips)
    try:
        finishing.check_recorded(run.sure(Step.RECORD, finishing.record_live, rollout, made, previous))
    except DeploydError as error:
        return closing.close_with_error(run, rollout, error, release=made, previous=previous)
    run.sure(Step.DRAIN, fleet.drain, rollout, made, previous)
    run.sure(Step.PRUNE, fleet.prune, rollout)
    return closing.close(run, rollout, "live", release=made, previous=previous, flips=flips)
