"""What comes after a flip, on several hosts at once: look through the web server, drain the old, discard the failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.domain.events import Event, quiet
from deployd.errors import HostError

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Mapping

    from deployd.domain.events import Report
    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
    from deployd.domain.options import Probe
    from deployd.hosts.helper import Helper
    from deployd.hosts.pool import Pool
    from deployd.hosts.replies import Probed


def probe_web(
    pool: Pool,
    hosts: Iterable[HostName],
    *,
    app: AppName,
    environment: EnvironmentName,
    release: ReleaseId,
    probe: Probe,
    report: Report = quiet,
    cancel: threading.Event | None = None,
) -> dict[HostName, Probed | HostError]:
    """Ask each host's web server, which must answer from this release."""
    outcomes = pool.each(hosts, lambda helper: helper.probe_web(app, environment, release, probe=probe, cancel=cancel))
    for name, outcome in outcomes.items():
        if not isinstance(outcome, HostError):
            report(
                Event.PROBE_ANSWERED,
                host=name,
                release=release,
                through="web",
                attempts=outcome.attempts,
                waited_s=round(outcome.waited_s, 3),
                status=outcome.status,
                first_byte_ms=outcome.first_byte_ms,
            )
    return outcomes


def drain(
    pool: Pool,
    targets: Mapping[HostName, ReleaseId | None],
    *,
    app: AppName,
    environment: EnvironmentName,
    report: Report = quiet,
) -> dict[HostName, bool | HostError]:
    """Let the old release of each host finish what it has, without waiting for it; False where there was none."""

    def one(helper: Helper) -> bool:
        old = targets[helper.name]
        if old is None:
            return False
        helper.stop(app, environment, old)
        report(Event.RELEASE_DRAINED, host=helper.name, release=old)
        return True

    return pool.each(targets, one)


def discard(
    pool: Pool, hosts: Iterable[HostName], *, app: AppName, environment: EnvironmentName, release: ReleaseId
) -> dict[HostName, bool | HostError]:
    """Remove a release that never was live from hosts; False where it was not."""
    return pool.each(hosts, lambda helper: helper.discard(app, environment, release))
