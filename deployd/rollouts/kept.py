"""Which releases matter, from what the store knows: bad ones, protected ones, and where a rollback goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.domain.ids import ReleaseId
from deployd.domain.release import Mark, ReleaseState
from deployd.rollouts.wishes import wish_from_json

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from deployd.domain.ids import AppName, EnvironmentName
    from deployd.domain.options import Options
    from deployd.store import Store


def bad_ones(store: Store, app: AppName, environment: EnvironmentName) -> frozenset[ReleaseId]:
    """Releases that were marked bad, or failed (a release that was flipped back was live for a moment)."""
    return frozenset(
        one.id
        for one in store.releases.of(app, environment)
        if one.mark is Mark.BAD or one.state is ReleaseState.FAILED
    )


def protected_ones(store: Store, app: AppName, environment: EnvironmentName) -> frozenset[ReleaseId]:
    """Releases that nothing may remove: what a pin names, what an unfinished rollout brings or may go back to, what
    waits for a yes, the last good one.
    """
    bad = bad_ones(store, app, environment)
    log = [release for release, _ in store.live_log.of(app, environment)]
    wanted: list[ReleaseId | None] = [
        *(one.release for one in store.rollouts.unfinished(app, environment)),
        *(release for one in store.rollouts.unfinished(app, environment) for release in _before(one.intent)),
        before(log, left=set(log[-1:]), bad=bad),
        *(one.release for one in store.approvals.pending(app, environment)),
        *(one.release for one in store.schedules.active(app)),  # a promotion names another environment's release
    ]
    pin = store.pins.get(app, environment)
    return frozenset(one for one in [*wanted, pin.release if pin else None] if one is not None)


def before(
    log: Sequence[ReleaseId],
    *,
    left: Collection[ReleaseId | None],
    bad: Collection[ReleaseId],
) -> ReleaseId | None:
    """The last release that was live and good before the ones that are left; `log` is what was live, oldest first."""
    return next((one for one in reversed(log) if one not in left and one not in bad), None)


def options_of(store: Store, release: ReleaseId, *, otherwise: Options) -> Options:
    """The options with which a release was brought live: today's probe path may not exist in it."""
    for one in store.rollouts.bringing(release):
        if one.kind not in {"rollback", "adopt"}:
            return wish_from_json(one.wish).options
    return otherwise


def _before(intent: object) -> list[ReleaseId]:
    return [ReleaseId(one) for one in intent.values() if one] if isinstance(intent, dict) else []
