"""Approvals within rollouts: a release is prepared and its rollout ends, waiting; a second rollout activates it.

A rollout that waited itself would hold the app's lock for hours, and a fix could not be released meanwhile. So the
first one ends with the outcome `waiting` and everything on the hosts, and a yes starts another one that only flips.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from deployd.domain.events import Event
from deployd.domain.options import Options
from deployd.domain.release import ReleaseState
from deployd.domain.schedule import Approval
from deployd.errors import DeploydError, NotAllowedError, NotFoundError
from deployd.rollouts import kept
from deployd.rollouts.wishes import ActivateWish, PromoteWish, ReleaseWish, wish_from_json
from deployd.store import moments

if TYPE_CHECKING:
    from deployd.domain.ids import AppName, EnvironmentName, ReleaseId, RolloutId
    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.values import Json
    from deployd.store import Store


def is_wanted(rollout: Rollout) -> bool:
    """Whether this rollout must wait for a person once its release is prepared."""
    return rollout.options.approval.mode != "off" and isinstance(rollout.wish, ReleaseWish | PromoteWish)


def ask_for(rollout: Rollout, release: ReleaseId) -> Json:
    """Keep that it waits; one that waited before in this environment waits no more."""
    consent = rollout.options.approval
    until = moments.text_of(datetime.now(UTC) + timedelta(seconds=consent.timeout))
    rollout.store.releases.set_state(release, ReleaseState.PREPARED)
    rollout.store.approvals.add(
        Approval(
            rollout=rollout.id,
            app=rollout.app,
            environment=rollout.environment,
            release=release,
            asked_by=rollout.who,
            by_another=consent.mode == "other",
            created=moments.now(),
            until=until,
            state="pending",
        )
    )
    rollout.report(Event.APPROVAL_WANTED, release=release, until=until, by_another=consent.mode == "other")
    return {"until": until}


def went_live(rollout: Rollout) -> None:
    """What waited since before this rollout was asked for is older than what is live now: it waits no more."""
    created = rollout.store.rollouts.get(rollout.id).created
    rollout.store.approvals.supersede(rollout.app, rollout.environment, by=rollout.id, created_before=created)


def find(
    store: Store,
    rollout: RolloutId | None,
    app: AppName | None = None,
    environment: EnvironmentName | None = None,
) -> Approval:
    """The approval of a rollout (of that app), or the newest one that waits in an environment; raises NotFoundError."""
    if rollout is not None:
        found = store.approvals.get(rollout)
        if app is not None and found.app != app:  # who may act for one app may not for another
            raise NotFoundError(
                f"rollout {rollout} of {app} waits for no approval",
                code="nothing-waits",
                fix="`deployd approvals` in the app's folder shows what waits",
            )
        return found
    waiting = store.approvals.pending(app, environment)
    if not waiting:
        raise NotFoundError(
            f"nothing waits for an approval in {app} {environment}" if app else "nothing waits for an approval",
            code="nothing-waits",
            fix="`deployd approvals` shows what waited",
        )
    return waiting[-1]


def approve(store: Store, approval: Approval, *, who: str, during_freeze: bool = False) -> ActivateWish:
    """Say yes; returns the wish of the rollout that brings it live. Raises when it does not wait, or not for `who`."""
    if approval.by_another and is_same_person(who, approval.asked_by):
        raise NotAllowedError(
            f"{who} asked for {approval.release}; {approval.app} {approval.environment} wants another's approval",
            code="approval-own",
            live="unchanged",
            fix="have somebody else run `deployd approve`",
        )
    if not _begun_before(store, approval) and not store.approvals.decide(approval.rollout, "approved", who=who):
        raise _does_not_wait(store.approvals.get(approval.rollout))
    asked = wish_from_json(store.rollouts.get(approval.rollout).wish)
    return ActivateWish(
        app=approval.app,
        environment=approval.environment,
        release=approval.release,
        hosts=asked.hosts,
        options=asked.options,
        approved=approval.rollout,
        message=getattr(asked, "message", None),
        timeout=getattr(asked, "timeout", None),
        confirm_within=getattr(asked, "confirm_within", None),
        during_freeze=during_freeze,
    )


def is_same_person(one: str, other: str) -> bool:
    """Whether two names may be one person's: `github:ada`, who pushed, and `Ada`, whose token or login it is."""
    return one.rpartition(":")[2].strip().casefold() == other.rpartition(":")[2].strip().casefold()


def refuse_unapproved(store: Store, app: AppName, environment: EnvironmentName, release: ReleaseId) -> None:
    """Raise NotAllowedError for a release that somebody must say yes to, and nobody has; not for one that was live."""
    asked = next((one for one in store.approvals.latest(app, environment) if one.release == release), None)
    state = asked.state if asked else "prepared"
    wanted = asked is not None or kept.options_of(store, release, otherwise=Options()).approval.mode != "off"
    if wanted and state != "approved" and all(one != release for one, _ in store.live_log.of(app, environment)):
        raise NotAllowedError(
            f"{release} needs a yes before visitors of {app} {environment} get it, and is {state}",
            code="approval-needed",
            live="unchanged",
            fix="have somebody run `deployd approve`; or release that commit again",
        )


def _begun_before(store: Store, approval: Approval) -> bool:
    """Whether somebody said yes, and was killed before the rollout that it starts was there."""
    if approval.state != "approved":
        return False
    begun = approval.activation
    return begun is None or (store.rollouts.find(begun) is None and store.queue.find(begun) is None)


def reject(store: Store, approval: Approval, *, who: str, reason: str | None = None) -> Approval:
    """Say no: what is live stays, and the prepared release is removed with the others that never were live."""
    if not store.approvals.decide(approval.rollout, "rejected", who=who, reason=reason):
        raise _does_not_wait(store.approvals.get(approval.rollout))
    return replace(approval, state="rejected", decided_by=who, reason=reason)


def _does_not_wait(approval: Approval) -> DeploydError:
    why = {
        "approved": f"{approval.decided_by} approved it already",
        "rejected": f"{approval.decided_by} rejected it",
        "expired": f"its time was over at {approval.until}",
        "superseded": approval.reason or "a newer one took its place",
    }
    return DeploydError(
        f"{approval.release} waits no more: {why.get(approval.state, approval.state)}",
        code="approval-over",
        live="unchanged",
        fix=f"see `deployd show {approval.activation or approval.release}`; or release that commit again",
    )
