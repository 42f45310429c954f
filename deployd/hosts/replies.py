"""The helper's replies as frozen values: parsed JSON comes in, each `from_json` returns its value or raises.

A missing or wrong field raises KeyError, TypeError or ValueError; helper.py makes one error of them.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from deployd.domain.host import Facts, HostedApp
from deployd.domain.ids import HostName, ReleaseId

if TYPE_CHECKING:
    from collections.abc import Mapping

    Json = Mapping[str, Any]


def release_or_none(value: str | None) -> ReleaseId | None:
    """A release id from JSON, checked."""
    return None if value is None else ReleaseId.parse(value)


def facts(data: Json) -> Facts:
    """The reply of `facts`."""
    return Facts(
        helper=int(data["helper"]),
        os=str(data["os"]),
        os_version=str(data.get("os_version") or ""),
        cpu=str(data["cpu"]),
        libc=str(data["libc"]),
        libc_version=str(data.get("libc_version") or ""),
        cores=int(data["cores"]),
        memory=int(data["memory"]),
        disk_free=int(data["disk_free"]),
        inodes_free=None if data.get("inodes_free") is None else int(data["inodes_free"]),
        mounted=tuple(data.get("mounted", ())),
        systemd=int(data.get("systemd") or 0),
        rsync=data.get("rsync"),
        web=data.get("web"),
        runtimes=tuple(data.get("runtimes", ())),
        time=float(data["time"]),
        python=str(data.get("python") or ""),
        web_running=data.get("web_running"),
        web_answers=data.get("web_answers"),
        port_80=data.get("port_80"),
        port_443=data.get("port_443"),
        incoming=int(data.get("incoming") or 0),
        apps=tuple(
            HostedApp(app=one["app"], environment=one["environment"], current=one["current"])
            for one in data.get("apps", ())
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeBegun:
    """Whether a runtime is on the host, and where its file goes when it is not."""

    present: bool
    incoming: str | None

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """The reply of `runtime-begin`."""
        return cls(present=bool(data["present"]), incoming=data.get("incoming"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who has an app's lock on a host."""

    held: bool
    owner: str | None = None
    since: str | None = None
    rollout: str | None = None
    pid: int | None = None

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """The reply of `holder`, or the `lock` of `status`."""
        return cls(
            held=bool(data["held"]),
            owner=data.get("owner"),
            since=data.get("since"),
            rollout=data.get("rollout"),
            pid=data.get("pid"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What a host lacks of a release. `incoming` is where the objects go; None when it is sealed already."""

    sealed: bool
    missing: tuple[str, ...]
    have: int
    bytes_missing: int
    current: ReleaseId | None
    disk_free: int
    incoming: str | None

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """The reply of `begin`."""
        return cls(
            sealed=bool(data.get("sealed", False)),
            missing=tuple(data.get("missing", ())),
            have=int(data.get("have", 0)),
            bytes_missing=int(data.get("bytes_missing", 0)),
            current=release_or_none(data.get("current")),
            disk_free=int(data.get("disk_free", 0)),
            incoming=data.get("incoming"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A release that is complete and verified on a host."""

    files: int
    linked: int
    copied: int
    bytes: int
    seconds: float

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """The reply of `seal`."""
        return cls(
            files=int(data.get("files", 0)),
            linked=int(data.get("linked", 0)),
            copied=int(data.get("copied", 0)),
            bytes=int(data.get("bytes", 0)),
            seconds=float(data.get("seconds", 0)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmed:
    """One path that was asked `times` times, to warm it. `ms` is the first answer's."""

    path: str
    status: int | None
    ms: float
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """A release that answers as asked."""

    attempts: int
    waited_s: float
    status: int | None
    first_byte_ms: float | None
    warmed: tuple[Warmed, ...]

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """The reply of `probe` and `probe-web`."""
        return cls(
            attempts=int(data["attempts"]),
            waited_s=float(data["waited_s"]),
            status=data.get("status"),
            first_byte_ms=data.get("first_byte_ms"),
            warmed=tuple(
                Warmed(
                    path=one["path"],
                    status=one.get("status"),
                    ms=float(one.get("ms") or 0),
                    times=int(one.get("times", 1)),
                )
                for one in data.get("warmed", ())
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Flipped:
    """A host after a flip. `at` is its own clock; `already` means that nothing had to be done."""

    host: HostName
    previous: ReleaseId | None
    current: ReleaseId | None
    at: float
    flip_us: float
    already: bool

    @classmethod
    def from_json(cls, data: Json, *, host: HostName) -> Self:
        """The reply of `flip` and `unflip`."""
        return cls(
            host=host,
            previous=release_or_none(data.get("previous")),
            current=release_or_none(data.get("current")),
            at=float(data["at"]),
            flip_us=float(data.get("flip_us") or 0),
            already=bool(data.get("already", False)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedRelease:
    """A release as a host keeps it; `state` is `current`, `warm`, `cold` or `failed`, and times are epoch seconds."""

    id: ReleaseId
    state: str
    was_live: bool
    live_at: float | None  # when it last went live
    left_at: float | None  # when another took its place
    sealed_at: float | None
    bytes: int | None
    commit: str | None
    wanted: int
    running: int
    memory: int | None
    provenance: Json | None = None
    restarts: int = 0  # how often its servers ended by themselves, and were started again

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """One of the `releases` of `status`."""
        instances = data.get("instances") or {}
        return cls(
            id=ReleaseId.parse(data["id"]),
            state=str(data["state"]),
            was_live=bool(data["was_live"]),
            live_at=_number(data.get("live_at")),
            left_at=_number(data.get("left_at")),
            sealed_at=_number(data.get("sealed_at")),
            bytes=data.get("bytes"),
            commit=data.get("commit"),
            wanted=int(instances.get("wanted") or 0),
            running=int(instances.get("running") or 0),
            memory=data.get("memory"),
            provenance=data.get("provenance"),
            restarts=int(instances.get("restarts") or 0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """Since when (epoch seconds) a host turns an app's visitors away, and which addresses it lets in."""

    since: float
    allow: tuple[str, ...]

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """The `maintenance` of `status`."""
        return cls(since=float(data["since"]), allow=tuple(data.get("allow", ())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A release that so many of a hundred visitors get instead of the current one."""

    release: ReleaseId
    percent: float

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """The `canary` of `status`."""
        return cls(release=ReleaseId.parse(data["release"]), percent=float(data["percent"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class AppStatus:
    """An app in an environment on one host. `since` is when the current release went live, in epoch seconds.

    `certificate` is from when until when (epoch seconds) it is good, if it is no host's own; `uncertified` lack one.
    """

    current: ReleaseId | None
    epoch: int
    since: float | None
    config: Json
    releases: tuple[HostedRelease, ...]
    lock: Holder
    disk_free: int
    maintenance: Maintenance | None = None
    canary: Canary | None = None
    certificate: tuple[float, float] | None = None
    uncertified: tuple[str, ...] = ()
    drained: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """The reply of `status`."""
        shown = data.get("certificate") or {}
        return cls(
            current=release_or_none(data["current"]),
            epoch=int(data["epoch"]),
            since=_number(data.get("since")),
            config=dict(data.get("config") or {}),
            releases=tuple(HostedRelease.from_json(one) for one in data["releases"]),
            lock=Holder.from_json(data.get("lock") or {"held": False}),
            maintenance=Maintenance.from_json(data["maintenance"]) if data.get("maintenance") else None,
            canary=Canary.from_json(data["canary"]) if data.get("canary") else None,
            disk_free=int(data.get("disk_free") or 0),
            certificate=(float(shown["since"]), float(shown["until"])) if shown.get("until") else None,
            uncertified=tuple(str(one) for one in shown.get("missing") or ()),
            drained=tuple(str(one) for one in data.get("drained", ())),
        )

    def release(self, release: ReleaseId) -> HostedRelease | None:
        """One of its releases, or None."""
        return next((one for one in self.releases if one.id == release), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What drains a host or an app on it (`host`, `app`, `rollout`), and how many requests wait for servers' answers.

    `open` is None where no web server tells.
    """

    drained: tuple[str, ...]
    changed: bool
    open: int | None

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """The reply of `drain`."""
        return cls(
            drained=tuple(str(one) for one in data["drained"]),
            changed=bool(data["changed"]),
            open=None if data.get("open") is None else int(data["open"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedName:
    """What a host's web server shows for a name: its certificate (DER), or why there is none."""

    name: str
    certificate: bytes | None
    error: str | None

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """One of the `names` of `served`."""
        shown = data.get("certificate")
        return cls(
            name=str(data["name"]),
            certificate=base64.b64decode(shown) if shown else None,
            error=data.get("error"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What a prune did."""

    removed: tuple[str, ...]
    kept: tuple[str, ...]
    in_use: tuple[str, ...]
    freed_bytes: int

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """The reply of `prune`."""
        return cls(
            removed=tuple(data["removed"]),
            kept=tuple(data.get("kept", ())),
            in_use=tuple(data.get("in_use", ())),
            freed_bytes=int(data.get("freed_bytes", 0)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line that an instance wrote; `time` is epoch seconds by the host's clock."""

    host: HostName
    time: float
    release: str | None
    instance: int | None
    message: str
    stream: str | None

    @classmethod
    def from_json(cls, data: Json, *, host: HostName) -> Self:
        """One line of `logs`."""
        return cls(
            host=host,
            time=float(data["time"]),
            release=data.get("release"),
            instance=None if data.get("instance") is None else int(data["instance"]),
            message=str(data["message"]),
            stream=data.get("stream"),
        )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
