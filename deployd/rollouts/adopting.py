"""What is on the hosts -> what the store knows: apps, environments, releases, what was live when, and what is live now.

For a new daemon, when the old one's state folder is gone. A place of which the store knows a rollout is left alone.
Options (probe, waves) are not on the hosts: they come from `deployd.toml`, and so do variables from a person.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from deployd.domain.artifact import Provenance
from deployd.domain.ids import (
    AppName,
    ArtifactName,
    BuildId,
    EnvironmentName,
    HostName,
    ReleaseId,
    RolloutId,
    RuntimeName,
)
from deployd.domain.options import Options, Run
from deployd.domain.release import Mark, Release, ReleaseState
from deployd.errors import HostError
from deployd.rollouts.states import State
from deployd.rollouts.wishes import RollbackWish, RolloutResult, wish_to_json
from deployd.store.moments import from_epoch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.hosts.pool import Pool
    from deployd.hosts.replies import AppStatus, HostedRelease
    from deployd.store import Store

    Place = tuple[AppName, EnvironmentName]
    Statuses = dict[HostName, AppStatus]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """One app and environment. `state` is `adopted`, `known`, or `empty` (nothing was ever live there)."""

    app: AppName
    environment: EnvironmentName
    state: str
    hosts: tuple[HostName, ...]
    release: ReleaseId | None
    releases: int
    mixed: bool = False
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that an adoption found; `errors` are hosts that could not be asked."""

    places: tuple[Adopted, ...]
    errors: Mapping[HostName, Mapping[str, Any]]


def adopt(store: Store, pool: Pool, *, who: str) -> Found:
    """Ask the hosts, and keep what they say. Changes nothing on them; doing it again is harmless."""
    facts = pool.each(pool.names, lambda helper: helper.facts())
    errors = {name: one for name, one in facts.items() if isinstance(one, HostError)}
    places: dict[Place, list[HostName]] = {}
    for name, one in facts.items():
        for app in () if isinstance(one, HostError) else one.apps:
            places.setdefault((AppName.parse(app.app), EnvironmentName.parse(app.environment)), []).append(name)
    found = []
    for place, names in sorted(places.items()):
        asked = pool.each(names, lambda helper, place=place: helper.status(*place))  # type: ignore[misc]
        errors |= {name: one for name, one in asked.items() if isinstance(one, HostError)}
        statuses = {name: one for name, one in asked.items() if not isinstance(one, HostError)}
        found.append(_adopt_place(store, place, statuses, who=who))
    return Found(places=tuple(found), errors={name: error.to_json() for name, error in errors.items()})


def _adopt_place(store: Store, place: Place, statuses: Statuses, *, who: str) -> Adopted:
    current = _current(statuses)
    made = Adopted(
        app=place[0],
        environment=place[1],
        state="adopted",
        hosts=tuple(statuses),
        release=current,
        releases=0,
        mixed=len({status.current for status in statuses.values()}) > 1,
    )
    if store.rollouts.latest(*place, limit=1):
        return replace(made, state="known")
    releases = _releases(statuses)
    unreadable = []
    for release, one in releases.items():
        if not _keep(store, release, one, current=current):
            unreadable.append(str(release))
    made = replace(made, releases=len(releases) - len(unreadable), unreadable=tuple(unreadable))
    if current is None:
        return replace(made, state="empty")
    was_live = sorted((one.live_at or 0, release) for release, one in releases.items() if one.was_live)
    for at, release in was_live:
        if release == current:
            continue
        store.live_log.add(*place, release=release, rollout=RolloutId.new(), at=from_epoch(at))
        if release > current and store.releases.find(release):  # newer, was live, and somebody went back from it
            store.marks.set(release, Mark.BAD, who=who)
    _record(store, place, statuses, current, who=who)
    return made


def _current(statuses: Statuses) -> ReleaseId | None:
    """What is live; when hosts differ, what became live last."""
    live = [(status.since or 0, status.current) for status in statuses.values() if status.current]
    return max(live)[1] if live else None


def _releases(statuses: Statuses) -> dict[ReleaseId, HostedRelease]:
    """Each release, as the host says it on which it was live last."""
    found: dict[ReleaseId, HostedRelease] = {}
    for status in statuses.values():
        for one in status.releases:
            before = found.get(one.id)
            if before is None or (one.live_at or 0) > (before.live_at or 0):
                found[one.id] = one
    return dict(sorted(found.items()))


def _keep(store: Store, release: ReleaseId, hosted: HostedRelease, *, current: ReleaseId | None) -> bool:
    """Keep a release; False when the host does not say where it comes from."""
    try:
        given = hosted.provenance or {}
        known = {one.name for one in fields(Provenance)}
        provenance = Provenance(**{name: value for name, value in given.items() if name in known})
        kept = Release(
            id=release,
            app=AppName.parse(provenance.app),
            environment=EnvironmentName.parse(provenance.environment),
            artifact=ArtifactName.parse(provenance.artifact),
            build_id=BuildId(provenance.build_id),
            runtime=RuntimeName(provenance.runtime),
            commit=provenance.commit,
            branch=provenance.branch,
            subject=provenance.subject,
            dirty=provenance.dirty,
            who=provenance.who,
            message=provenance.message,
            created=provenance.created,
            state=_state(release, hosted, current),
            live_at=from_epoch(hosted.live_at) if hosted.live_at else None,
        )
    except (TypeError, ValueError):
        return False
    store.releases.add(kept, provenance=provenance)
    return True


def _state(release: ReleaseId, hosted: HostedRelease, current: ReleaseId | None) -> ReleaseState:
    if release == current:
        return ReleaseState.LIVE
    return ReleaseState.RETIRED if hosted.was_live else ReleaseState.PREPARED


def _record(store: Store, place: Place, statuses: Statuses, current: ReleaseId, *, who: str) -> None:
    """A rollout of its own kind: hosts for those who ask later, and a line in `deployd rollouts`."""
    config = next((status.config for status in statuses.values() if status.config), {})
    names = {one.name for one in fields(Run)} & {"instances", "memory", "drain", "port"}
    run = replace(Run(), **{name: config[name] for name in names if config.get(name) is not None})
    wish = RollbackWish(app=place[0], environment=place[1], hosts=tuple(statuses), options=Options(run=run))
    rollout = RolloutId.new()
    store.rollouts.add(
        rollout,
        kind="adopt",
        app=place[0],
        environment=place[1],
        state=State.LIVE,
        who=who,
        owner="",
        wish=wish_to_json(wish),
        release=current,
    )
    store.live_log.add(*place, release=current, rollout=rollout)
    hosts = tuple({"name": name, "release": one.current, "state": "live"} for name, one in statuses.items())
    result = RolloutResult(
        rollout=rollout, release=current, outcome="live", previous=None, duration_s=0.0, flip_s=None, hosts=hosts
    )
    store.rollouts.finish(rollout, state=State.LIVE, outcome="live", result=result.to_json(), error=None)
