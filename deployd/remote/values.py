"""JSON of the API becomes the values that the command line draws; and where the API has an environment."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from deployd.domain.daemon import AuditEntry, RegisteredApp, Token
from deployd.domain.host import Host
from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId, RolloutId
from deployd.domain.release import Mark, Release, ReleaseState
from deployd.domain.rollout import Pin, RolloutRecord, Variable
from deployd.rollouts.wishes import HostState, LogLine, PruneResult, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


def host(data: Mapping[str, Any]) -> Host:
    """A server."""
    return _made(Host, data, name=HostName(data["name"]))


def release(data: Mapping[str, Any]) -> Release:
    """A release."""
    return _made(
        Release,
        data,
        id=ReleaseId(data["id"]),
        app=AppName(data["app"]),
        environment=EnvironmentName(data["environment"]),
        state=ReleaseState(data["state"]),
        mark=Mark(data["mark"]) if data["mark"] else None,
    )


def rollout(data: Mapping[str, Any]) -> RolloutRecord:
    """A rollout; its wish and its owner stay with the daemon."""
    return _made(
        RolloutRecord,
        {"owner": None, "wish": {}, **data},
        id=RolloutId(data["id"]),
        app=AppName(data["app"]),
        environment=EnvironmentName(data["environment"]),
        release=ReleaseId(data["release"]) if data["release"] else None,
        superseded_by=RolloutId(data["superseded_by"]) if data["superseded_by"] else None,
    )


def pin(data: Mapping[str, Any]) -> Pin:
    """A pin."""
    return _made(Pin, data, release=ReleaseId(data["release"]) if data["release"] else None)


def variable(data: Mapping[str, Any]) -> Variable:
    """A variable without its value."""
    return _made(Variable, data)


def status(data: Mapping[str, Any]) -> Status:
    """What is live where."""
    hosts = tuple(
        _made(
            HostState,
            one,
            name=HostName(one["name"]),
            release=ReleaseId(one["release"]) if one["release"] else None,
            drained=tuple(one.get("drained", ())),
        )
        for one in data["hosts"]
    )
    return _made(
        Status,
        data,
        hosts=hosts,
        release=ReleaseId(data["release"]) if data["release"] else None,
        previous=ReleaseId(data["previous"]) if data["previous"] else None,
        pin=pin(data["pin"]) if data["pin"] else None,
    )


def log_line(data: Mapping[str, Any]) -> LogLine:
    """One line of a server's log."""
    return _made(LogLine, data, host=HostName(data["host"]))


def pruned(data: Mapping[str, Any]) -> PruneResult:
    """What a prune did on one host."""
    lists = {name: tuple(ReleaseId(one) for one in data[name]) for name in ("removed", "kept", "in_use")}
    return _made(PruneResult, data, host=HostName(data["host"]), **lists)


def app(data: Mapping[str, Any]) -> RegisteredApp:
    """A registered app."""
    return _made(RegisteredApp, data, name=AppName(data["name"]))


def token(data: Mapping[str, Any]) -> Token:
    """A token without its secret."""
    return _made(Token, data, apps=tuple(AppName(one) for one in data["apps"]))


def audit_entry(data: Mapping[str, Any]) -> AuditEntry:
    """An entry of the audit log."""
    return _made(AuditEntry, data)


def _made(cls: type[T], data: Mapping[str, Any], **parsed: Any) -> T:
    """A frozen value; what a newer daemon says besides is left out."""
    known = {one.name for one in fields(cls)}  # type: ignore[arg-type]
    return cls(**{**{name: value for name, value in data.items() if name in known}, **parsed})


def place(app: AppName, environment: EnvironmentName) -> str:
    """The path of an environment."""
    return f"/v1/apps/{app}/environments/{environment}"
