"""Which releases stay on a host: what it has and `Keep` come in, a plan with a reason for each release goes out.

Pure but for `prune`, which has hosts carry plans out. A host keeps more than the plan where a process still uses it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.domain.events import Event, quiet

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from deployd.domain.events import Report
    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
    from deployd.domain.options import Keep
    from deployd.errors import HostError
    from deployd.hosts.helper import Helper
    from deployd.hosts.pool import Pool
    from deployd.hosts.replies import AppStatus, Pruned


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A release on a host. `live_at` is when it last went live, `left_at` when it last was live, in epoch seconds;
    `is_bad` is what a person or a rollback said of it.
    """

    id: ReleaseId
    was_live: bool
    live_at: float | None
    is_current: bool
    is_bad: bool = False
    left_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPlan:
    """What stays and what goes, newest first, and why."""

    keep: tuple[ReleaseId, ...]
    remove: tuple[ReleaseId, ...]
    reasons: Mapping[ReleaseId, str]


def candidates(found: AppStatus, *, bad: Collection[ReleaseId] = ()) -> tuple[Candidate, ...]:
    """The releases that a host says it has."""
    return tuple(
        Candidate(
            id=one.id,
            was_live=one.was_live,
            live_at=one.live_at,
            is_current=one.id == found.current,
            is_bad=one.id in bad,
            left_at=one.left_at,
        )
        for one in found.releases
    )


def plan(
    releases: Sequence[Candidate], *, keep: Keep, protected: Collection[ReleaseId] = (), now: float | None = None
) -> RetentionPlan:
    """Decide for each release; `now` is the host's time, as far as is known.

    The current one, the last good one before it and the protected ones always stay. Of those that were live the newest
    `keep.releases` stay, with the current one counted, and all that were live within `keep.skew_protection`: pages that
    came from them are still open. Of those that never were, the newest `keep.failed`.
    """
    since = (time.time() if now is None else now) - keep.skew_protection
    live = sorted((one for one in releases if one.was_live or one.is_current), key=_by_life, reverse=True)
    never = sorted(
        (one for one in releases if not (one.was_live or one.is_current)), key=lambda one: one.id, reverse=True
    )
    reasons: dict[ReleaseId, str] = {
        one.id: f"one of the last {keep.failed} that never were live" for one in never[: keep.failed]
    }
    reasons |= {one.id: f"one of the last {keep.releases} that were live" for one in live[: keep.releases]}
    reasons |= {one.id: "its pages may still be open" for one in live if one.id not in reasons and _left(one) > since}
    good = next((one for one in live if not one.is_current and not one.is_bad), None)
    if good:
        reasons[good.id] = "the last good release: a rollback goes there"
    reasons |= {one.id: "protected" for one in releases if one.id in protected}
    reasons |= {one.id: "current" for one in releases if one.is_current}
    newest = [one.id for one in sorted(releases, key=lambda one: one.id, reverse=True)]
    going = {one: "more than are kept" for one in newest if one not in reasons}
    return RetentionPlan(
        keep=tuple(one for one in newest if one in reasons),
        remove=tuple(going),
        reasons=reasons | going,
    )


def _left(one: Candidate) -> float:
    return one.left_at or one.live_at or 0.0


def _by_life(one: Candidate) -> tuple[bool, float, ReleaseId]:
    return (one.is_current, one.live_at or 0.0, one.id)


def prune(
    pool: Pool,
    plans: Mapping[HostName, RetentionPlan],
    *,
    app: AppName,
    environment: EnvironmentName,
    protected: Collection[ReleaseId] = (),
    report: Report = quiet,
) -> dict[HostName, Pruned | HostError]:
    """Have hosts remove what their plans leave out, where there is anything."""

    def one(helper: Helper) -> Pruned:
        done = helper.prune(app, environment, keep=plans[helper.name].keep, protect=sorted(protected))
        report(
            Event.RELEASES_PRUNED,
            host=helper.name,
            removed=list(done.removed),
            in_use=list(done.in_use),
            freed_bytes=done.freed_bytes,
        )
        return done

    return pool.each([name for name, wanted in plans.items() if wanted.remove], one)
