"""Work on an app that is live, outside of rollouts: prune and restart, under the app's lock on every host."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from deployd.domain.events import Event
from deployd.domain.ids import RolloutId
from deployd.errors import HostError
from deployd.rollouts import assets, kept, locks
from deployd.rollouts.fleet import raise_first
from deployd.rollouts.leases import Leases
from deployd.rollouts.wishes import PruneResult
from deployd.stages import supervise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployd.domain.events import Report
    from deployd.domain.ids import AppName, EnvironmentName, ReleaseId
    from deployd.domain.options import Options
    from deployd.hosts.pool import Pool
    from deployd.paths import StatePaths
    from deployd.store import Store


@contextmanager
def held(
    paths: StatePaths,
    pool: Pool,
    app: AppName,
    environment: EnvironmentName,
    *,
    who: str,
    doing: str,
    store: Store | None = None,
) -> Iterator[None]:
    """Hold the app's lock on this machine (or between those that share `store`) and on every host.

    Raises BusyError or HostLockedError.
    """
    leases = Leases(pool, app=app, environment=environment, who=who, rollout=RolloutId.new())
    with locks.app_lock(paths, app, environment, store=store) as lock:
        command = f"deployd {doing} ({app} {environment})"
        if not lock.take(locks.held_by(who=who, command=command, app=app, environment=environment)):
            raise lock.busy(f"{app} {environment}")
        try:
            raise_first(leases.hold(pool.names), live="unchanged")
            yield
        finally:
            leases.close()


def prune(
    store: Store, pool: Pool, app: AppName, environment: EnvironmentName, *, options: Options, report: Report
) -> tuple[PruneResult, ...]:
    """Remove what is kept no longer from each host; a host that fails is in the result with its error."""
    bad = kept.bad_ones(store, app, environment)
    protected = kept.protected_ones(store, app, environment)
    found = pool.each(pool.names, lambda helper: helper.status(app, environment))
    plans = {
        name: supervise.retention.plan(
            supervise.retention.candidates(status, bad=bad), keep=options.keep, protected=protected
        )
        for name, status in found.items()
        if not isinstance(status, HostError)
    }
    done = supervise.prune(pool, plans, app=app, environment=environment, protected=protected, report=report)
    assets.prune(store, app, environment, assets=options.assets, found=found, pruned=done, report=report)
    results = []
    for name, status in found.items():
        outcome = done.get(name, status)
        if isinstance(outcome, HostError):
            results.append(PruneResult(host=name, error=outcome.to_json()))
            continue
        plan = plans[name]
        pruned = done.get(name)
        removed = () if pruned is None or isinstance(pruned, HostError) else _ids(pruned.removed)
        in_use = () if pruned is None or isinstance(pruned, HostError) else _ids(pruned.in_use)
        freed = 0 if pruned is None or isinstance(pruned, HostError) else pruned.freed_bytes
        results.append(
            PruneResult(
                host=name,
                removed=removed,
                kept=plan.keep,
                in_use=in_use,
                freed_bytes=freed,
                reasons={str(one): why for one, why in plan.reasons.items()},
            )
        )
    return tuple(results)


def restart(pool: Pool, app: AppName, environment: EnvironmentName, *, report: Report) -> None:
    """Restart the live release, one host after the other; stops at the first that does not come back."""
    for name in pool.names:
        report(Event.STAGE_STARTED, stage="restart", host=name)
        helper = pool.helper(name)
        helper.restart(app, environment)
        report(Event.RELEASE_STARTED, host=name, release=helper.status(app, environment).current)


def _ids(names: tuple[str, ...]) -> tuple[ReleaseId, ...]:
    from deployd.domain.ids import ReleaseId

    return tuple(ReleaseId(name) for name in names)
