"""An app in an environment comes in, what each host has of it goes out; or it comes off them, and what went goes out.

Releases' records, artifacts and logs stay here: `deployd release` and `deployd promote` can bring it back.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deployd.domain.release import ReleaseState
from deployd.errors import HostError
from deployd.rollouts import assets, certifying

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.domain.events import Report
    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
    from deployd.domain.options import Options
    from deployd.hosts.pool import Pool
    from deployd.hosts.replies import AppStatus
    from deployd.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What a host has of an app: `releases` kept, their `bytes`, `processes` that run, `addresses` that answer.

    `error` (as in `HostError.to_json`) is there when the host did not say, or did not let it go.
    """

    host: HostName
    live: ReleaseId | None = None
    releases: int = 0
    bytes: int = 0
    processes: int = 0
    addresses: tuple[str, ...] = ()
    configured: bool = False
    error: Mapping[str, Any] | None = None

    @property
    def anything(self) -> bool:
        """Whether there is something to take off."""
        return self.configured or bool(self.releases)

    def to_json(self) -> dict[str, Any]:
        """As in `destroy --json`."""
        return asdict(self)


def look(pool: Pool, app: AppName, environment: EnvironmentName) -> tuple[Presence, ...]:
    """What each host has of it. Changes nothing."""
    found = pool.each(pool.names, lambda helper: helper.status(app, environment))
    return tuple(_presence(name, status) for name, status in found.items())


def remove(
    store: Store,
    pool: Pool,
    app: AppName,
    environment: EnvironmentName,
    *,
    options: Options,
    everywhere: bool,
    variables: bool,
    who: str,
    report: Report,
) -> dict[str, Any]:
    """Take it off the hosts. The app's lock must be held.

    `everywhere` says that these are all of its hosts: then its schedules end, deployd forgets the certificate that it
    renews for it, and its assets leave the bucket. `variables` are forgotten then, too, if so asked.
    """
    before = {one.host: one for one in look(pool, app, environment)}
    done = pool.each(
        [name for name, one in before.items() if not one.error], lambda helper: helper.remove_app(app, environment)
    )
    hosts = []
    for name, one in before.items():
        outcome = done.get(name)
        error = outcome.to_json() if isinstance(outcome, HostError) else one.error
        freed = outcome if isinstance(outcome, int) else 0
        hosts.append({**one.to_json(), "removed": not error and one.anything, "freed_bytes": freed, "error": error})
    ended: list[str] = []
    forgotten: list[str] = []
    if everywhere and not any(one["error"] for one in hosts):
        ended = [
            one.id
            for one in store.schedules.active(app, environment)
            if store.schedules.end(one.id, "cancelled", who=who)
        ]
        certifying.forget(store, app, environment)
        assets.prune(store, app, environment, assets=options.assets, found={}, pruned={}, report=report)
        for release in store.releases.of(app, environment):
            if release.state in {ReleaseState.LIVE, ReleaseState.RETIRED, ReleaseState.PREPARED}:
                store.releases.set_state(release.id, ReleaseState.PRUNED)
        if variables:
            forgotten = [one.key for one in store.variables.of(app, environment)]
            for key in forgotten:
                store.variables.remove(app, environment, key)
    return {"hosts": hosts, "schedules": ended, "variables": forgotten}


def _presence(name: HostName, status: AppStatus | HostError) -> Presence:
    if isinstance(status, HostError):
        return Presence(host=name, error=status.to_json())
    config = status.config
    port = config.get("port", 80)
    domains = [*config.get("domains", ()), *config.get("redirects", {})]
    return Presence(
        host=name,
        live=status.current,
        releases=len(status.releases),
        bytes=sum(one.bytes or 0 for one in status.releases),
        processes=sum(one.running for one in status.releases),
        addresses=tuple(domains or ([f"port {port}"] if config else [])),
        configured=bool(config),
    )
