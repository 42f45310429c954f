"""A sealed release becomes one that runs and answers on its own socket; `current` is untouched.

The order matters: units exist before the start, and variables are written before the process reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.domain.events import Event, quiet
from deployd.errors import CancelledError

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from deployd.domain.events import Report
    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
    from deployd.domain.options import Probe, Run
    from deployd.domain.secret import Secret
    from deployd.hosts.pool import Pool
    from deployd.hosts.replies import Warmed


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A release that runs on a host and answered its probe."""

    host: HostName
    attempts: int
    waited_s: float
    status: int | None
    first_byte_ms: float | None
    warmed: tuple[Warmed, ...]


def prepare(
    pool: Pool,
    host: HostName,
    *,
    app: AppName,
    environment: EnvironmentName,
    release: ReleaseId,
    run: Run | None,
    probe: Probe,
    variables: Mapping[str, Secret] | None,
    report: Report = quiet,
    cancel: threading.Event | None = None,
) -> Prepared:
    """Start a release and wait until it is healthy. Raises ProbeError, another HostError, or CancelledError.

    With `run`, units and site are brought to it first; with `variables`, the release's are written. None leaves
    either as it is. Safe to repeat.
    """

    def look() -> None:
        if cancel and cancel.is_set():
            raise CancelledError(
                f"preparing {release} on {host} was cancelled",
                host=host,
                live="unchanged",
                fix="release again when ready",
            )

    helper = pool.helper(host)
    if run is not None:
        look()
        helper.configure(app, environment, run=run)
    if variables is not None:
        helper.env(app, environment, release, variables=variables)
    look()
    helper.start(app, environment, release)
    report(Event.RELEASE_STARTED, host=host, release=release)
    probed = helper.probe(app, environment, release, probe=probe, cancel=cancel)
    report(
        Event.PROBE_ANSWERED,
        host=host,
        release=release,
        through="socket",
        attempts=probed.attempts,
        waited_s=round(probed.waited_s, 3),
        status=probed.status,
        first_byte_ms=probed.first_byte_ms,
    )
    report(Event.RELEASE_PREPARED, host=host, release=release, warmed=len(probed.warmed))
    return Prepared(
        host=host,
        attempts=probed.attempts,
        waited_s=probed.waited_s,
        status=probed.status,
        first_byte_ms=probed.first_byte_ms,
        warmed=probed.warmed,
    )
