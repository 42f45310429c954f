"""What a person does to an environment by hand: restart, prune, unlock, plan, exec, read its variables, look at hosts.

What takes time answers with a stream: its events, then `end` with `result` or `error`.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from deployd.daemon import resolving
from deployd.daemon.api import streams
from deployd.daemon.api.asking import parsed_wish
from deployd.daemon.api.auth import Caller, daemon_of, require
from deployd.daemon.api.places import Hosts, hosts_of
from deployd.daemon.api.shapes import App, Body, Environment, HostId, HostsBody, Release, ReleaseAsk
from deployd.daemon.wiring import Daemon
from deployd.domain.ask import Ask
from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
from deployd.domain.options import Keep, Options
from deployd.errors import NotAllowedError, NotFoundError, UnreachableError, UsageError
from deployd.hosts import doctor, keys
from deployd.rollouts import adopting, differences, draining, look, removing, upkeep
from deployd.rollouts.fleet import raise_first
from deployd.rollouts.wishes import ReleaseWish, Wish, wish_from_json

if TYPE_CHECKING:
    import threading

router = APIRouter(prefix="/v1", tags=["by hand"])
Reader = Annotated[Caller, Depends(require("read"))]
Releaser = Annotated[Caller, Depends(require("release"))]
Admin = Annotated[Caller, Depends(require("admin"))]
TheDaemon = Annotated[Daemon, Depends(daemon_of)]
_PLACE = "/apps/{app}/environments/{environment}"


class KeepBody(Body):
    """How many releases stay on a host."""

    releases: Annotated[int, Field(ge=1, le=1000)] = 5
    failed: Annotated[int, Field(ge=0, le=1000)] = 2
    skew_protection: Annotated[float, Field(ge=0, le=365 * 86400)] = Keep().skew_protection


class PruneBody(Body):
    """Which hosts, and what stays; without `keep` as the last rollout had it."""

    hosts: Annotated[list[HostId], Field(max_length=500, default_factory=list)]
    keep: KeepBody | None = None


class DestroyBody(Body):
    """Which hosts; whether these are all it has, so that its schedules end; whether its variables are forgotten."""

    hosts: Annotated[list[HostId], Field(max_length=500, default_factory=list)]
    everywhere: bool = False
    variables: bool = False


class DrainBody(Body):
    """Which hosts; one app of theirs, or all; drained, given back, or (None) only looked at."""

    hosts: Annotated[list[HostId], Field(min_length=1, max_length=500)]
    on: bool | None = None
    app: App | None = None
    environment: Environment | None = None


class PlanBody(Body):
    """A whole wish (over the unix socket), or an ask."""

    wish: dict[str, Any] | None = None
    ask: ReleaseAsk | None = None


@router.post(_PLACE + "/restart", response_class=StreamingResponse)
def restart(
    *, app: App, environment: Environment, body: HostsBody, request: Request, caller: Releaser, daemon: TheDaemon
) -> StreamingResponse:
    """Restart the live release, one process at a time, one host after the other."""
    place = (AppName(app), EnvironmentName(environment))
    hosts = hosts_of(daemon, *place, body.hosts)
    request.state.audit = {"action": "restart", "details": {"hosts": list(hosts)}}

    def do(tell: streams.Tell, _cancel: threading.Event) -> None:
        with (
            daemon.workshop.pool_of(hosts) as pool,
            upkeep.held(daemon.paths, pool, *place, who=caller.who, doing="restart", store=daemon.store),
        ):
            upkeep.restart(pool, *place, report=streams.reporting(tell))

    return streams.answer(do, audit=request.state.audit)


@router.post(_PLACE + "/prune", response_class=StreamingResponse)
def prune(
    *, app: App, environment: Environment, body: PruneBody, request: Request, caller: Releaser, daemon: TheDaemon
) -> StreamingResponse:
    """Remove the releases that are kept no longer."""
    place = (AppName(app), EnvironmentName(environment))
    hosts = hosts_of(daemon, *place, body.hosts)
    latest = daemon.store.rollouts.latest(*place, limit=1)
    options = wish_from_json(latest[0].wish).options if latest else Options()
    if body.keep:
        options = replace(options, keep=Keep(**body.keep.model_dump()))
    request.state.audit = {"action": "prune", "details": {"hosts": list(hosts), "keep": asdict(options.keep)}}

    def do(tell: streams.Tell, _cancel: threading.Event) -> list[dict[str, Any]]:
        with (
            daemon.workshop.pool_of(hosts) as pool,
            upkeep.held(daemon.paths, pool, *place, who=caller.who, doing="prune", store=daemon.store),
        ):
            done = upkeep.prune(daemon.store, pool, *place, options=options, report=streams.reporting(tell))
        return [one.to_json() for one in done]

    return streams.answer(do, audit=request.state.audit)


@router.get(_PLACE + "/presence")
def presence(
    *, app: App, environment: Environment, _caller: Reader, daemon: TheDaemon, host: Hosts = None
) -> dict[str, Any]:
    """What each host has of the app: what `destroy` would take away."""
    place = (AppName(app), EnvironmentName(environment))
    with daemon.workshop.pool_of(hosts_of(daemon, *place, host)) as pool:
        return {"hosts": [one.to_json() for one in removing.look(pool, *place)]}


@router.post(_PLACE + "/destroy", response_class=StreamingResponse)
def destroy(
    *, app: App, environment: Environment, body: DestroyBody, request: Request, caller: Admin, daemon: TheDaemon
) -> StreamingResponse:
    """Take the app off its hosts: processes, site, releases, caches. Records and artifacts stay."""
    place = (AppName(app), EnvironmentName(environment))
    hosts = hosts_of(daemon, *place, body.hosts)
    latest = daemon.store.rollouts.latest(*place, limit=1)
    options = wish_from_json(latest[0].wish).options if latest else Options()
    details = {"hosts": list(hosts), "everywhere": body.everywhere, "variables": body.variables}
    request.state.audit = {"action": "destroy", "details": details}

    def do(tell: streams.Tell, _cancel: threading.Event) -> dict[str, Any]:
        with (
            daemon.workshop.pool_of(hosts) as pool,
            upkeep.held(daemon.paths, pool, *place, who=caller.who, doing="destroy", store=daemon.store),
        ):
            return removing.remove(
                daemon.store,
                pool,
                *place,
                options=options,
                everywhere=body.everywhere,
                variables=body.variables,
                who=caller.who,
                report=streams.reporting(tell),
            )

    return streams.answer(do, audit=request.state.audit)


@router.get(_PLACE + "/locks")
def locks(
    *, app: App, environment: Environment, _caller: Reader, daemon: TheDaemon, host: Hosts = None
) -> dict[str, Any]:
    """Who holds the app's lock on each host."""
    place = (AppName(app), EnvironmentName(environment))
    with daemon.workshop.pool_of(hosts_of(daemon, *place, host)) as pool:
        return {"locks": [one.to_json() for one in look.locks(pool, pool.names, *place)]}


@router.post(_PLACE + "/unlock", status_code=204)
def unlock(
    *, app: App, environment: Environment, body: HostsBody, request: Request, _caller: Releaser, daemon: TheDaemon
) -> None:
    """Take the app's lock from whoever holds it on the hosts; a flip of theirs is refused from then on."""
    place = (AppName(app), EnvironmentName(environment))
    hosts = hosts_of(daemon, *place, body.hosts)
    request.state.audit = {"action": "unlock", "details": {"hosts": list(hosts)}}
    with daemon.workshop.pool_of(hosts) as pool:
        raise_first(pool.each(pool.names, lambda helper: helper.unlock(*place)))


@router.post("/plans", response_class=StreamingResponse)
def plan(body: PlanBody, request: Request, caller: Releaser, daemon: TheDaemon) -> StreamingResponse:
    """What a release would do, on which host and why. Changes nothing."""
    request.state.audit = None
    if body.wish is not None and not caller.local:
        raise _only_here("a whole wish")
    if (body.wish is None) == (body.ask is None):
        raise UsageError("a plan is of a wish or of an ask", code="request-invalid", fix="send one of the two")
    caller.must(body.ask.app if body.ask else parsed_wish(body.wish or {}).app)

    def do(_tell: streams.Tell, cancel: threading.Event) -> dict[str, Any]:
        wish = _planned(daemon, body, cancel)
        with daemon.workshop.pool_of(wish.hosts) as pool:
            return look.plan_release(daemon.paths, daemon.store, pool, wish).to_json()

    return streams.answer(do)


@router.post(_PLACE + "/variables/reveal")
def reveal(*, app: App, environment: Environment, request: Request, caller: Admin, daemon: TheDaemon) -> dict[str, Any]:
    """The values of the variables that people set. Over the unix socket only."""
    request.state.audit = {"action": "reveal variables"}
    if not caller.local:
        raise _only_here("the variables' values")
    place = (AppName(app), EnvironmentName(environment))
    own = {one.key for one in daemon.store.variables.of(*place) if not one.managed}
    found = daemon.store.variables.reveal(*place)
    return {"variables": {key: secret.reveal() for key, secret in found.items() if key in own}}


@router.get("/releases/{release}/diff/{other}")
def diff(release: Release, other: Release, caller: Reader, daemon: TheDaemon) -> dict[str, Any]:
    """What differs between two releases: files by their hashes, packages, routes."""
    found = []
    for one in (release, other):
        made = daemon.store.releases.find(ReleaseId(one))
        if made is None or not caller.may(made.app):
            raise NotFoundError(
                f"there is no release {one}", code="release-unknown", fix="deployd releases lists those there are"
            )
        found.append(made)
    return differences.between(*found, artifacts=daemon.paths.artifacts)


@router.post("/hosts/check", response_class=StreamingResponse)
def check(body: HostsBody, request: Request, _caller: Reader, daemon: TheDaemon) -> StreamingResponse:
    """Look hosts over (all of them when none is named); each finding with its fix."""
    request.state.audit = None
    store = daemon.store.hosts
    chosen = store.some([HostName(one) for one in body.hosts]) if body.hosts else store.all()

    def do(_tell: streams.Tell, _cancel: threading.Event) -> dict[str, Any]:
        with daemon.workshop.pool_of([one.name for one in chosen]) as pool:
            outcomes = pool.connect_all()
            findings = [asdict(one) for host in chosen for one in doctor.check(host, pool)]
        far = [name for name, one in outcomes.items() if isinstance(one, UnreachableError)]
        return {"findings": findings, "unreachable": far}

    return streams.answer(do)


@router.post("/hosts/drain")
def drain(body: DrainBody, request: Request, caller: Releaser, daemon: TheDaemon) -> dict[str, Any]:
    """Tell load balancers to leave hosts alone, or to come again; without `on` only look. All apps need scope admin."""
    place = None
    if (body.app is None) != (body.environment is None):
        raise UsageError(
            "an app and its environment come together", code="request-invalid", fix="send both, or neither for all apps"
        )
    if body.app is not None and body.environment is not None:
        caller.must(body.app)
        place = (AppName(body.app), EnvironmentName(body.environment))
    elif body.on is not None:
        caller.must_have("admin")
        caller.must_be_unbound()
    names = [HostName(one) for one in body.hosts]
    details = {"on": body.on, "hosts": names, "app": body.app, "environment": body.environment}
    request.state.audit = None if body.on is None else {"action": "drain", "details": details}
    with daemon.workshop.pool_of(names) as pool:
        return {"hosts": draining.drain(daemon.store, pool, place, on=body.on, who=caller.who)}


@router.post("/adopt", response_class=StreamingResponse)
def adopt(body: HostsBody, request: Request, caller: Admin, daemon: TheDaemon) -> StreamingResponse:
    """Learn apps, environments, releases and what is live from the hosts (all of them when none is named)."""
    caller.must_be_unbound()
    store = daemon.store.hosts
    chosen = store.some([HostName(one) for one in body.hosts]) if body.hosts else store.all()
    names = [one.name for one in chosen]
    request.state.audit = {"action": "adopt", "details": {"hosts": names}}

    def do(_tell: streams.Tell, _cancel: threading.Event) -> dict[str, Any]:
        with daemon.workshop.pool_of(names) as pool:
            return asdict(adopting.adopt(daemon.store, pool, who=caller.who))

    return streams.answer(do, audit=request.state.audit)


@router.get("/key")
def key(_caller: Reader, daemon: TheDaemon) -> dict[str, Any]:
    """The daemon's public key: what `deployd host bootstrap` lets into a host."""
    return {"public_key": keys.ensure_ssh_key(daemon.paths)}


def _planned(daemon: Daemon, body: PlanBody, cancel: threading.Event) -> ReleaseWish:
    wish: Wish
    if body.wish is not None:
        wish = parsed_wish(body.wish)
    else:
        assert body.ask is not None  # noqa: S101 - one of the two is there
        asked = body.ask
        ask = Ask(
            kind="release",
            app=AppName(asked.app),
            environment=EnvironmentName(asked.environment),
            cause="person",
            who="plan",
            ref=asked.ref,
            commit=asked.commit,
            activate=asked.activate,
        )
        wish = resolving.wish_of(ask, store=daemon.store, paths=daemon.paths, timeout=None, cancel=cancel)
    if not isinstance(wish, ReleaseWish):
        raise UsageError("only a release has a plan", code="request-invalid", fix="send the wish of a release")
    return wish


def _only_here(what: str) -> NotAllowedError:
    return NotAllowedError(
        f"{what} is for the unix socket only", code="not-local", live="unchanged", fix="run it on the daemon's machine"
    )
