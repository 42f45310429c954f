"""Back to an earlier release: choose it, see that every host has it and that it answers, flip all hosts at once.

No build and no copy. The hosts are asked first, and nothing is touched when one of them lacks the release.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deployd.domain.ids import HostName, ReleaseId
from deployd.domain.options import Waves
from deployd.errors import DeploydError, HostError, NotFoundError, UnreachableError
from deployd.rollouts import closing, consent, finishing, fleet, kept
from deployd.rollouts.golive import go_live
from deployd.rollouts.steps import Step
from deployd.rollouts.turnback import describe, turn_back

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.hosts.helper import Helper
    from deployd.hosts.replies import AppStatus
    from deployd.rollouts.fleet import Previous
    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.runner import Runner
    from deployd.rollouts.values import Json


def rollback(run: Runner, rollout: Rollout) -> Json:
    """Bring an earlier release live again."""
    target: ReleaseId | None = None
    previous: Previous | None = None
    flips: list[Json] = []
    try:
        chosen = run.step(Step.CHOOSE, choose, rollout)
        target, previous = ReleaseId(chosen["release"]), fleet.previous_of(chosen["previous"])
        if all(release == target for release in previous.values()):
            left = chosen.get("left")  # it has turned back by itself; that a person wanted it is kept all the same
            if left:
                previous = {name: ReleaseId(left) for name in previous}
                finishing.check_recorded(run.sure(Step.RECORD, finishing.record_back, rollout, target, previous))
            return closing.close(run, rollout, "live", release=target, previous=previous)
        # it was healthy before: one good answer is enough, and several would wait an interval each
        probe = replace(kept.options_of(rollout.store, target, otherwise=rollout.options).probe, successes=1)
        run.step(Step.PREPARE, fleet.prepare, rollout, target, None, probe)
        go_live(run, rollout, target, previous, waves=Waves(), probe=probe, flips=flips)
    except DeploydError as error:
        return turn_back(run, rollout, error, release=target, previous=previous, flips=flips)
    try:
        finishing.check_recorded(run.sure(Step.RECORD, finishing.record_back, rollout, target, previous))
    except DeploydError as error:
        return closing.close_with_error(run, rollout, error, release=target, previous=previous)
    run.sure(Step.DRAIN, fleet.drain, rollout, target, previous)
    return closing.close(run, rollout, "live", release=target, previous=previous, flips=flips)


def choose(rollout: Rollout) -> Json:
    """Take the app's lock everywhere, ask what is there, and decide where to go. Raises before anything is touched."""

    def ask(helper: Helper) -> AppStatus:
        return helper.status(rollout.app, rollout.environment)

    _all_there(rollout.leases.hold(rollout.hosts))
    found = rollout.pool.each(rollout.hosts, ask)
    _all_there(found)
    states = {name: status for name, status in found.items() if not isinstance(status, HostError)}
    begun = rollout.store.rollouts.get(rollout.id)
    interrupted = _interrupted(rollout)
    if begun.release and begun.intent:  # chosen by a process that died: some hosts may have been flipped since
        target, previous = begun.release, fleet.previous_of(begun.intent)
    else:
        previous = {name: status.current for name, status in states.items()}
        target = getattr(rollout.wish, "release", None) or _default(rollout, previous, interrupted)
        consent.refuse_unapproved(rollout.store, rollout.app, rollout.environment, target)
    fleet.require(target, states, live=describe({name: status.current for name, status in states.items()}))
    intent = {str(name): release for name, release in previous.items()}
    rollout.store.rollouts.set_intent(rollout.id, intent)
    rollout.store.rollouts.set_release(rollout.id, target)
    return {"release": target, "previous": intent, "left": interrupted if interrupted != target else None}


def _interrupted(rollout: Rollout) -> ReleaseId | None:
    """The release that this rollback stopped while it was going live, or was watched: that one is what is left."""
    records = rollout.store.rollouts.latest(rollout.app, rollout.environment)
    mine = (one for one in records if one.superseded_by == rollout.id and one.touched)
    return next((one.release for one in mine), None)


def _all_there(outcomes: Mapping[HostName, Any]) -> None:
    """Raise the weightiest failure; where only the way to a host is broken, how to go back on the others is told."""
    try:
        fleet.raise_first(outcomes)
    except UnreachableError as error:
        others = [name for name, one in outcomes.items() if not isinstance(one, HostError)]
        if not others:
            raise
        alone = " ".join(f"--host {name}" for name in others)
        raise error.but(fix=f"{error.fix}; to go back on the others meanwhile: deployd rollback {alone}") from error


def _default(rollout: Rollout, previous: Previous, interrupted: ReleaseId | None) -> ReleaseId:
    """The last one that was live and good before what is live now.

    A release that was cut off in the middle of its flips is on some hosts: it is what is left, and the release before
    it is where to go, although that one is still live on the others. So it is with one that this rollback stopped,
    although it has turned back since.
    """
    store = rollout.store
    log = [release for release, _ in store.live_log.of(rollout.app, rollout.environment)]
    bad = kept.bad_ones(store, rollout.app, rollout.environment)
    current = {release for release in previous.values() if release}
    halfway = {release for release in current if release not in log}
    newest = next((release for release in reversed(log) if release in current), None)
    target = kept.before(log, left=halfway or {interrupted or newest}, bad=bad)
    if target is None:
        raise NotFoundError(
            f"{rollout.app} {rollout.environment} has no earlier release that was live and good",
            code="rollback-nowhere",
            live=describe(previous),
            fix="name one: `deployd releases` lists them; or release a good commit",
        )
    return target
