"""The flip: what each host is expected to have now comes in, an outcome for each host goes out.

All hosts are connected first, then let go together, so that the fleet changes within milliseconds. A flip may be sent
twice: the host says `already`. So when the wire breaks in the middle, the host is asked again; only when it cannot be
asked is the outcome `connection-lost`, which means unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.domain.events import Event, quiet
from deployd.errors import HostError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deployd.domain.events import Report
    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
    from deployd.hosts.helper import Helper
    from deployd.hosts.pool import Pool
    from deployd.hosts.replies import Flipped

Outcomes = dict["HostName", "Flipped | HostError"]


def flip(
    pool: Pool,
    targets: Mapping[HostName, ReleaseId | None],
    *,
    app: AppName,
    environment: EnvironmentName,
    release: ReleaseId,
    epochs: Mapping[HostName, int],
    report: Report = quiet,
) -> Outcomes:
    """Make a release current on hosts, at once. `targets` says what must be current on each for that."""

    def one(helper: Helper) -> Flipped:
        expect = targets[helper.name]
        return helper.flip(app, environment, release, expect=expect, epoch=epochs[helper.name])

    return _all(pool, targets, one, event=Event.RELEASE_FLIPPED, report=report)


def flip_back(
    pool: Pool,
    targets: Mapping[HostName, ReleaseId | None],
    *,
    app: AppName,
    environment: EnvironmentName,
    epochs: Mapping[HostName, int],
    report: Report = quiet,
) -> Outcomes:
    """Make the release current again that `targets` names for each host; None takes `current` away."""

    def one(helper: Helper) -> Flipped:
        return helper.unflip(app, environment, to=targets[helper.name], epoch=epochs[helper.name])

    return _all(pool, targets, one, event=Event.RELEASE_FLIPPED_BACK, report=report)


def _all(
    pool: Pool,
    targets: Mapping[HostName, ReleaseId | None],
    one: Callable[[Helper], Flipped],
    *,
    event: Event,
    report: Report,
) -> Outcomes:
    def sure(helper: Helper) -> Flipped:
        try:
            return one(helper)
        except UnreachableError as error:
            if error.code != "connection-lost":
                raise
            try:
                return one(pool.helper(helper.name))
            except UnreachableError as again:
                raise error from again

    outcomes = pool.each(targets, sure, at_once=True)
    for name, outcome in outcomes.items():
        if not isinstance(outcome, HostError):
            report(
                event,
                host=name,
                release=outcome.current,
                previous=outcome.previous,
                at=outcome.at,
                flip_us=outcome.flip_us,
                already=outcome.already,
            )
    return outcomes


def spread(outcomes: Mapping[HostName, Flipped | HostError]) -> float | None:
    """Seconds from the first flip to the last, by the hosts' clocks; None when fewer than one flipped now."""
    times = [one.at for one in outcomes.values() if not isinstance(one, HostError) and not one.already]
    return max(times) - min(times) if times else None
