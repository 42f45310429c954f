"""What a release would do: facts and a wish come in, actions with reasons go out. Pure; `look.py` gets the facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.domain.quantity import format_duration
from deployd.rollouts.fleet import waves
from deployd.rollouts.wishes import Action, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.domain.ids import HostName, ReleaseId
    from deployd.rollouts.wishes import ReleaseWish


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What a host has: `changes` is what `configure` would change; `error` why it could not be asked."""

    cpu: str = ""
    current: ReleaseId | None = None
    has_runtime: bool = False
    changes: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFacts:
    """What is known before a release: of the source, of an earlier build, of each host."""

    commit: str | None = None
    subject: str | None = None
    ref: str | None = None
    dirty: bool = False
    framework: str | None = None
    manager: str | None = None
    node: str | None = None
    build_id: str | None = None
    built_by: ReleaseId | None = None
    blocked_by: str | None = None
    hosts: Mapping[HostName, HostFacts]


def plan(facts: PlanFacts, wish: ReleaseWish) -> Plan:
    """The actions of a release, in order."""
    actions = [*_making(facts, wish)]
    for number, name in enumerate(wish.hosts):
        first = number == 0 and (wish.activate or wish.environment == "preview") and wish.options.approval.mode == "off"
        actions += _preparing(name, facts, facts.hosts[name], before=wish.options.waves.before if first else None)
    if wish.options.assets.bucket:
        what = f"send new hashed files to the bucket {wish.options.assets.bucket}"
        actions.append(_on(None, "ship", what, "assets in deployd.toml; if it refuses, nothing is flipped"))
    if wish.activate:
        actions += _going_live(facts, wish)
    else:
        actions.append(_on(None, "close", "leave it prepared", "--no-activate: what is live stays live"))
    return Plan(app=wish.app, environment=wish.environment, actions=tuple(actions))


def _making(facts: PlanFacts, wish: ReleaseWish) -> list[Action]:
    actions = []
    if facts.blocked_by:
        actions.append(_on(None, "settle", f"turn back rollout {facts.blocked_by}", "its process is gone"))
    if wish.source is None and wish.prebuilt:
        what = f"trace and package {wish.prebuilt} as it lies there"
        return [*actions, _on(None, "package", what, "--prebuilt: nothing is installed and nothing is built")]
    if wish.source is None:
        return [*actions, _on(None, "package", f"take in {wish.artifact_file}", "--artifact: nothing is built")]
    commit = (facts.commit[:7] if facts.commit else "no commit") + (" and uncommitted work" if facts.dirty else "")
    actions.append(_on(None, "source", f"check out {commit}: {facts.subject or ''}".rstrip(": "), f"{facts.ref}"))
    if facts.built_by:
        actions.append(
            _on(
                None,
                "build",
                f"take the artifact of {facts.built_by}",
                f"the same build was made then ({facts.build_id})",
            )
        )
        return actions
    with_what = " ".join(part for part in (facts.framework, "with", facts.manager, "on Node.js", facts.node) if part)
    reason = "no release has this build" if wish.use_cache else "--no-cache"
    return [
        *actions,
        _on(None, "build", f"build {with_what}", reason),
        _on(None, "package", "trace and package what the server needs", "it is built anew"),
        *_verifying(wish),
    ]


def _verifying(wish: ReleaseWish) -> list[Action]:
    options = wish.options.verify
    if options.mode == "off":
        return []
    what = "run it alone, without checkout and network, and ask all that is known"
    return [
        _on(None, "verify", what, "a missing file stops it" if options.mode == "strict" else "a missing file is told")
    ]


def _preparing(name: HostName, facts: PlanFacts, host: HostFacts, *, before: str | None) -> list[Action]:
    if host.error:
        return [_on(name, "check", "end with an error, nothing changed", host.error)]
    actions = []
    if not host.has_runtime:
        actions.append(_on(name, "ship", f"send Node.js {facts.node or ''}".rstrip(), "the host does not have it"))
    actions.append(_on(name, "ship", "send the files that it lacks, and seal the release", "only these travel"))
    names = {"units": "write the app's units", "site": "write the app's site for the web server"}
    actions += [_on(name, "prepare", names.get(one, one), "they differ from deployd.toml") for one in host.changes]
    if before:
        actions.append(_on(name, "before", f"run `{before}` in the new release", "rollout.before, once, on this host"))
    actions.append(_on(name, "prepare", "start the release and probe it", "before anything is flipped"))
    return actions


def _going_live(facts: PlanFacts, wish: ReleaseWish) -> list[Action]:
    actions = []
    every = waves(wish.hosts, wish.options.waves)
    watches = wish.options.waves.bake and any(host.current for host in facts.hosts.values())
    for number, wave in enumerate(every, 1):
        which = (
            "all hosts at once" if len(every) == 1 else f"wave {number} of {len(every)} ({wish.options.waves.strategy})"
        )
        for name in wave:
            current = facts.hosts[name].current
            what = f"flip from {current}" if current else "flip: the first release here"
            actions.append(_on(name, "flip", what, which))
        if watches and number == 1 and len(every) > 1 and any(facts.hosts[name].current for name in wave):
            how = f"watch its traffic for {format_duration(wish.options.waves.bake)} before the next wave goes"
            actions.append(_on(None, "bake", how, "bake in deployd.toml"))
    if watches:
        watch = f"watch the traffic for {format_duration(wish.options.waves.bake)}; clearly worse goes back"
        actions.append(_on(None, "bake", watch, "bake in deployd.toml"))
    warm = wish.options.run.warm
    stays = f"the old release stays started for going back ({format_duration(warm)})" if warm else "warm is 0"
    return [
        *actions,
        _on(None, "drain", "stop what is not current and not the release before", stays),
        _on(None, "prune", f"keep {wish.options.keep.releases} releases on each host", "keep in deployd.toml"),
    ]


def _on(host: HostName | None, stage: str, what: str, reason: str) -> Action:
    return Action(stage=stage, host=host, what=what, reason=reason)
