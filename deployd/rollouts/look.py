"""Looking without changing: the facts of a plan, the status of an app, and who holds what."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd.domain.ids import RuntimeName
from deployd.domain.release import Mark
from deployd.errors import HostError, NotFoundError
from deployd.rollouts.locks import is_alive
from deployd.rollouts.plan import HostFacts, PlanFacts, plan
from deployd.rollouts.story import bake_of
from deployd.rollouts.wishes import HostState, LockState, Plan, Status
from deployd.stages import supervise
from deployd.store.moments import from_epoch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
    from deployd.domain.rollout import RolloutRecord
    from deployd.domain.stages import BuildPlan, SourceRequest
    from deployd.hosts.helper import Helper
    from deployd.hosts.pool import Pool
    from deployd.hosts.replies import AppStatus
    from deployd.paths import StatePaths
    from deployd.rollouts.wishes import ReleaseWish
    from deployd.store import Store


def plan_release(paths: StatePaths, store: Store, pool: Pool, wish: ReleaseWish) -> Plan:
    """The plan of a release: the source is looked at in a folder that is removed again."""
    with tempfile.TemporaryDirectory(prefix="deployd-plan-") as folder:
        planner = _Planner(paths, store, wish, wish.source, into=Path(folder) / "tree") if wish.source else None
        found = pool.each(wish.hosts, lambda helper: _host_facts(helper, wish, node=planner and planner.plan.node))
        made = planner.facts(cpus={one.cpu for one in found.values() if isinstance(one, HostFacts)}) if planner else {}
    blocked = [one for one in store.rollouts.unfinished(wish.app, wish.environment) if one.kind != "rollback"]
    hosts = {
        name: HostFacts(error=f"{one.what}; {one.fix}") if isinstance(one, HostError) else one
        for name, one in found.items()
    }
    return plan(PlanFacts(**made, blocked_by=blocked[0].id if blocked else None, hosts=hosts), wish)


class _Planner:
    """The source of a release, checked out and planned at once: its faults are told before hosts are asked."""

    def __init__(
        self, paths: StatePaths, store: Store, wish: ReleaseWish, source: SourceRequest, *, into: Path
    ) -> None:
        from deployd.stages.source import checkout

        self._paths, self._store, self._wish = paths, store, wish
        self._tree = checkout(source, mirrors=paths.mirrors, into=into)
        self.plan = self._plan(cpu="")

    def _plan(self, *, cpu: str) -> BuildPlan:
        from deployd.stages import build

        wish = self._wish
        variables = self._store.variables.reveal(wish.app, wish.environment, build=True)
        return build.plan_for(
            self._tree, wish.options, app=wish.app, environment=wish.environment, variables=variables, cpu=cpu
        )

    def facts(self, *, cpus: set[str]) -> dict[str, Any]:
        """What a plan says of source and build, which depends on `cpus`: those of the hosts that answered."""
        from deployd.stages import package
        from deployd.stages.build import platforms

        wish, tree = self._wish, self._tree
        others = len(cpus) == 1 and cpus - {platforms.own_cpu()}
        planned = self._plan(cpu=others.pop()) if others else self.plan
        again = self._store.releases.built(wish.app, wish.environment, planned.build_id) if wish.use_cache else None
        if again:
            try:
                package.load(self._paths.artifacts, again.artifact)
            except NotFoundError:
                again = None
        return {
            "commit": tree.commit,
            "subject": tree.subject,
            "ref": tree.ref,
            "dirty": tree.dirty,
            "framework": f"{planned.framework} {planned.framework_version or ''}".strip(),
            "manager": planned.manager,
            "node": planned.node,
            "build_id": planned.build_id,
            "built_by": again.id if again else None,
        }


def _host_facts(helper: Helper, wish: ReleaseWish, *, node: object) -> HostFacts:
    facts = helper.facts()
    changes = helper.configure(wish.app, wish.environment, run=wish.options.run, check=True)
    status = helper.status(wish.app, wish.environment)
    runtime = RuntimeName(f"node-{node}-linux-{facts.cpu}-{facts.libc}") if node else None
    return HostFacts(
        cpu=facts.cpu,
        current=status.current,
        has_runtime=runtime in facts.runtimes if runtime else bool(facts.runtimes),
        changes=changes,
    )


def status(store: Store, pool: Pool, app: AppName, environment: EnvironmentName) -> Status:
    """What is live where, with what the store knows of it."""
    found = supervise.status(pool, pool.names, app=app, environment=environment)
    answered = [one for one in found if one.error is None]
    current = {one.release for one in answered}
    if current and any(one.error and one.error.code == "current-not-link" for one in found):
        current.add(None)  # it was asked, and has no release that visitors reach
    only = next(iter(current)) if len(current) == 1 else None
    known = store.releases.find(only) if only else None
    since = min((one.since for one in answered if one.since and only), default=None)
    running = store.rollouts.unfinished(app, environment)
    return Status(
        app=app,
        environment=environment,
        release=only,
        commit=known.commit if known else None,
        since=from_epoch(since) if since else None,
        hosts=tuple(
            HostState(
                name=one.name,
                address=one.address,
                release=one.release,
                state=one.state,
                instances=one.instances,
                wanted=one.wanted,
                url=one.url,
                error=one.error.to_json() if one.error else None,
                maintenance=_maintenance(one.detail),
                canary=_canary(one.detail),
                certificate=_certificate(one.detail),
                drained=one.detail.drained if one.detail else (),
                restarts=one.restarts,
            )
            for one in found
        ),
        previous=_previous(store, app, environment, only),
        rollout=_under_way(store, running[-1]) if running else None,
        mixed=len(current) > 1,
        mark=known.mark if known else None,
        dirty=known.dirty if known else False,
        pin=store.pins.get(app, environment),
        **_said(store, app, environment),
    )


def _under_way(store: Store, record: RolloutRecord) -> dict[str, Any]:
    """A rollout that goes on: its state, or `baking` with the hosts it watches and the seconds that are left.

    `alive` is whether its process still runs.
    """
    found: dict[str, Any] = {"id": record.id, "state": record.state, "alive": is_alive(record.owner, store)}
    baking = bake_of(store, record)
    return found if baking is None else {**found, "state": "baking", **baking}


def _certificate(found: AppStatus | None) -> dict[str, Any] | None:
    """Until when it is good, whether somebody should look, and which names have none yet."""
    from deployd.certificates.reading import Certificate

    if found is None or (found.certificate is None and not found.uncertified):
        return None
    missing = list(found.uncertified)
    if found.certificate is None:
        return {"until": None, "soon": False, "missing": missing}
    begins, ends = found.certificate
    kept = Certificate(names=(), begins=begins, ends=ends, issuer="")
    return {"until": from_epoch(ends), "soon": kept.is_soon(time.time()), "missing": missing}


def _maintenance(found: AppStatus | None) -> dict[str, Any] | None:
    if found is None or found.maintenance is None:
        return None
    return {"since": from_epoch(found.maintenance.since), "allow": list(found.maintenance.allow)}


def _canary(found: AppStatus | None) -> dict[str, Any] | None:
    if found is None or found.canary is None:
        return None
    return {"release": found.canary.release, "percent": found.canary.percent}


def _said(store: Store, app: AppName, environment: EnvironmentName) -> dict[str, Any]:
    """What waits for a person: a way back that is armed, a freeze, an approval."""
    unconfirmed = store.schedules.unconfirmed(app, environment)
    freeze = next(iter(store.freezes.active(app, environment)), None)
    approval = next(reversed(store.approvals.pending(app, environment)), None)
    return {
        "unconfirmed": {"rollout": unconfirmed.rollout, "until": unconfirmed.next_at, "back_to": unconfirmed.release}
        if unconfirmed
        else None,
        "freeze": freeze.to_json() if freeze else None,
        "approval": approval.to_json() if approval else None,
    }


def locks(pool: Pool, hosts: Sequence[HostName], app: AppName, environment: EnvironmentName) -> tuple[LockState, ...]:
    """Who holds the app's lock on each host."""
    found = pool.each(hosts, lambda helper: helper.holder(app, environment))
    return tuple(
        LockState(host=name, held=False, error=one.to_json())
        if isinstance(one, HostError)
        else LockState(host=name, held=one.held, owner=one.owner, since=one.since, rollout=one.rollout)
        for name, one in found.items()
    )


def _previous(store: Store, app: AppName, environment: EnvironmentName, current: ReleaseId | None) -> ReleaseId | None:
    """What a rollback would go to."""
    from deployd.rollouts.kept import before

    bad = {one.id for one in store.releases.of(app, environment) if one.mark is Mark.BAD}
    log = [release for release, _ in store.live_log.of(app, environment)]
    return before(log, left={current} if current else set(), bad=bad)
