"""A release that is prepared goes live: see that every host has it and that it answers, then flip. Nothing is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.errors import DeploydError, HostError
from deployd.rollouts import beforehand, closing, consent, finishing, fleet, gates, wayback
from deployd.rollouts.golive import go_live
from deployd.rollouts.steps import Step
from deployd.rollouts.turnback import describe, turn_back
from deployd.rollouts.wishes import ActivateWish

if TYPE_CHECKING:
    from deployd.hosts.helper import Helper
    from deployd.hosts.replies import AppStatus
    from deployd.rollouts.fleet import Previous
    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.runner import Runner
    from deployd.rollouts.values import Json


def activate(run: Runner, rollout: Rollout) -> Json:
    """Bring a prepared release live."""
    options, wish = rollout.options, rollout.wish
    if not isinstance(wish, ActivateWish):
        raise DeploydError("there is nothing to activate", code="internal", fix="this is a bug: report it")
    made = wish.release
    found: Previous | None = None
    flips: list[Json] = []
    try:
        found = fleet.previous_of(run.step(Step.CHOOSE, look, rollout))
        if all(release == made for release in found.values()):
            return closing.close(run, rollout, "live", release=made, previous=found)
        if beforehand.is_wanted(rollout):
            run.step(Step.BEFORE, beforehand.run, rollout, made)
        run.step(Step.PREPARE, fleet.prepare, rollout, made, options.run, options.probe)
        if wayback.is_wanted(rollout):
            run.step(Step.ARM, wayback.arm, rollout, found)
        go_live(run, rollout, made, found, waves=options.waves, probe=options.probe, flips=flips)
    except DeploydError as error:
        return turn_back(run, rollout, error, release=made, previous=found, flips=flips)
    try:
        finishing.check_recorded(run.sure(Step.RECORD, finishing.record_live, rollout, made, found))
    except DeploydError as error:
        return closing.close_with_error(run, rollout, error, release=made, previous=found)
    run.sure(Step.DRAIN, fleet.drain, rollout, made, found)
    run.sure(Step.PRUNE, fleet.prune, rollout)
    return closing.close(run, rollout, "live", release=made, previous=found, flips=flips)


def look(rollout: Rollout) -> Json:
    """Take the app's lock everywhere, and keep what each host has now. Raises when one lacks the release."""
    wish = rollout.wish
    if not isinstance(wish, ActivateWish):
        raise DeploydError("there is nothing to activate", code="internal", fix="this is a bug: report it")

    if wish.approved is None and not rollout.store.rollouts.get(rollout.id).intent:  # a canary, and not a resumed one
        gates.refuse_frozen(rollout.store, rollout.app, rollout.environment, during_freeze=wish.during_freeze)
        consent.refuse_unapproved(rollout.store, rollout.app, rollout.environment, wish.release)

    def ask(helper: Helper) -> AppStatus:
        return helper.status(rollout.app, rollout.environment)

    fleet.raise_first(rollout.leases.hold(rollout.hosts), live="unchanged")
    answers = rollout.pool.each(rollout.hosts, ask)
    fleet.raise_first(answers, live="unchanged")
    states = {name: status for name, status in answers.items() if not isinstance(status, HostError)}
    current = {name: status.current for name, status in states.items()}
    fleet.require(wish.release, states, live=describe(current))
    kept = rollout.store.rollouts.get(rollout.id).intent  # of a process that died: some hosts may have flipped since
    intent = dict(kept) if kept else {str(name): release for name, release in current.items()}
    rollout.store.rollouts.set_intent(rollout.id, intent)
    rollout.store.rollouts.set_release(rollout.id, wish.release)
    return intent
