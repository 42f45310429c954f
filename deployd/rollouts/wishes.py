"""What a person asks of the engine (wishes) and what comes back (results), as frozen values with a JSON form.

A wish is kept in the store as JSON, so that whoever resumes the rollout knows what was asked; so it holds no secret.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId, RolloutId
from deployd.domain.options import (
    Approval,
    Assets,
    Build,
    Keep,
    Options,
    Package,
    Previews,
    Probe,
    Push,
    Run,
    Trace,
    Verify,
    Waves,
)
from deployd.domain.rollout import Kind, Outcome, Pin, RolloutRecord, Variable
from deployd.domain.stages import SourceRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Action",
    "ActivateWish",
    "HostState",
    "Kind",
    "LockState",
    "LogLine",
    "Outcome",
    "Pin",
    "Plan",
    "PromoteWish",
    "PruneResult",
    "ReleaseWish",
    "RollbackWish",
    "RolloutRecord",
    "RolloutResult",
    "Status",
    "Variable",
    "Wish",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseWish:
    """Bring a commit (or an artifact file, a prebuilt folder) live on `hosts`; with `activate` False only prepare it.

    With `confirm_within` (seconds) it goes back by itself unless somebody confirms it; `during_freeze` says that it is
    meant to go live although the environment is frozen.
    """

    app: AppName
    environment: EnvironmentName
    source: SourceRequest | None
    artifact_file: str | None = None
    prebuilt: str | None = None
    hosts: tuple[HostName, ...]
    options: Options
    activate: bool = True
    use_cache: bool = True
    message: str | None = None
    timeout: float | None = None
    confirm_within: float | None = None
    during_freeze: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteWish:
    """Bring the artifact of `release` (of any environment of the app) live in `environment`, with its variables."""

    app: AppName
    environment: EnvironmentName
    release: ReleaseId
    hosts: tuple[HostName, ...]
    options: Options
    activate: bool = True
    message: str | None = None
    timeout: float | None = None
    confirm_within: float | None = None
    during_freeze: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivateWish:
    """Bring a release live that is prepared on `hosts` already; `approved` is the rollout that waited for a yes."""

    app: AppName
    environment: EnvironmentName
    release: ReleaseId
    hosts: tuple[HostName, ...]
    options: Options
    approved: RolloutId | None = None
    message: str | None = None
    timeout: float | None = None
    confirm_within: float | None = None
    during_freeze: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackWish:
    """Go back on `hosts` to `release`, or (None) to the last one that was live and good before the current one."""

    app: AppName
    environment: EnvironmentName
    hosts: tuple[HostName, ...]
    options: Options
    release: ReleaseId | None = None


Wish = ReleaseWish | PromoteWish | ActivateWish | RollbackWish


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutResult:
    """How a rollout ended; the last event of a rollout has the same fields.

    `flip_s` is from the first host's flip to the last one's. Each host is `{"name", "release", "state"}`.
    """

    rollout: RolloutId
    release: ReleaseId | None
    outcome: Outcome
    previous: ReleaseId | None
    duration_s: float
    flip_s: float | None
    hosts: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields of the event `rollout_finished`."""
        return asdict(self) | {"hosts": [dict(host) for host in self.hosts]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RolloutResult:
        """Read what `to_json` wrote."""
        return cls(
            rollout=RolloutId(data["rollout"]),
            release=_release(data["release"]),
            outcome=data["outcome"],
            previous=_release(data["previous"]),
            duration_s=data["duration_s"],
            flip_s=data["flip_s"],
            hosts=tuple(data["hosts"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that would be done, where (`host` None is this machine), and why."""

    stage: str
    host: HostName | None
    what: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """As in `release --plan --json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a wish would do. Nothing was changed to find it out."""

    app: AppName
    environment: EnvironmentName
    actions: tuple[Action, ...]

    def to_json(self) -> dict[str, Any]:
        """As in `release --plan --json`."""
        return {
            "app": self.app,
            "environment": self.environment,
            "actions": [action.to_json() for action in self.actions],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """One host in a status: `state` is live, empty, degraded, failed, down or unreachable; `error` says why.

    `maintenance` is `{"since", "allow"}` while visitors are turned away, and `canary` `{"release", "percent"}` while
    some of them get another release; None otherwise. `certificate` is `{"until", "soon"}` where deployd brings one.
    `drained` says by what a load balancer is told to leave it alone: `host`, `app`, `rollout`. `restarts` is how often
    the release's servers ended by themselves and were started again: a crash loop shows here.
    """

    name: HostName
    address: str
    release: ReleaseId | None
    state: str
    instances: int
    wanted: int
    url: str | None
    error: Mapping[str, Any] | None = None
    maintenance: Mapping[str, Any] | None = None
    canary: Mapping[str, Any] | None = None
    certificate: Mapping[str, Any] | None = None
    drained: tuple[str, ...] = ()
    restarts: int = 0

    def to_json(self) -> dict[str, Any]:
        """As in `status --json`."""
        own = {name: dict(one) for name, one in self._tables() if one}
        return asdict(self) | own

    def _tables(self) -> tuple[tuple[str, Mapping[str, Any] | None], ...]:
        return (
            ("error", self.error),
            ("maintenance", self.maintenance),
            ("canary", self.canary),
            ("certificate", self.certificate),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What is live where. `release` is None before the first release and when hosts differ (`mixed`)."""

    app: AppName
    environment: EnvironmentName
    release: ReleaseId | None
    commit: str | None
    since: str | None
    hosts: tuple[HostState, ...]
    previous: ReleaseId | None
    rollout: Mapping[str, Any] | None
    mixed: bool = False
    mark: str | None = None
    dirty: bool = False
    pin: Pin | None = None
    unconfirmed: Mapping[str, Any] | None = None
    freeze: Mapping[str, Any] | None = None
    approval: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The shape that `status --json` promises."""
        return {
            "app": self.app,
            "environment": self.environment,
            "release": self.release,
            "commit": self.commit,
            "since": self.since,
            "hosts": [host.to_json() for host in self.hosts],
            "previous": self.previous,
            "rollout": dict(self.rollout) if self.rollout else None,
            "mixed": self.mixed,
            "mark": self.mark,
            "dirty": self.dirty,
            "pin": self.pin.to_json() if self.pin else None,
            "unconfirmed": dict(self.unconfirmed) if self.unconfirmed else None,
            "freeze": dict(self.freeze) if self.freeze else None,
            "approval": dict(self.approval) if self.approval else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a server's log. `time` is seconds since the epoch."""

    host: HostName
    time: float
    release: str | None
    instance: int | None
    message: str
    stream: str | None

    def to_json(self) -> dict[str, Any]:
        """As in `logs --json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockState:
    """Whether a host's lock of an app and environment is held, by whom and since when (ISO 8601)."""

    host: HostName
    held: bool
    owner: str | None = None
    since: str | None = None
    rollout: str | None = None
    error: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """As in `unlock --json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneResult:
    """What a prune did on one host."""

    host: HostName
    removed: tuple[ReleaseId, ...] = ()
    kept: tuple[ReleaseId, ...] = ()
    in_use: tuple[ReleaseId, ...] = ()
    freed_bytes: int = 0
    reasons: Mapping[str, str] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """As in `prune --json`."""
        return asdict(self)


def kind_of(wish: Wish) -> Kind:
    """The name of a wish's kind in the store."""
    kinds: dict[type[Wish], Kind] = {ReleaseWish: "release", PromoteWish: "promote", ActivateWish: "activate"}
    return kinds.get(type(wish), "rollback")


def wish_to_json(wish: Wish) -> dict[str, Any]:
    """A wish as the store keeps it."""
    return {"v": 1, "kind": kind_of(wish), **asdict(wish)}


def wish_from_json(data: Mapping[str, Any]) -> Wish:
    """Read what `wish_to_json` wrote; raises ValueError for another format."""
    if data.get("v") != 1:
        msg = f"this wish has format {data.get('v')!r}; this deployd reads format 1"
        raise ValueError(msg)
    fields = {key: value for key, value in data.items() if key not in {"v", "kind"}}
    fields["app"] = AppName(data["app"])
    fields["environment"] = EnvironmentName(data["environment"])
    fields["hosts"] = tuple(HostName(name) for name in data["hosts"])
    fields["options"] = options_from_json(data["options"])
    if data["kind"] == "release":
        source = data["source"]
        return ReleaseWish(**fields | {"source": SourceRequest(**source) if source else None})
    fields["release"] = _release(data["release"])
    if data["kind"] == "activate":
        approved = data.get("approved")
        return ActivateWish(**fields | {"approved": RolloutId(approved) if approved else None})
    return PromoteWish(**fields) if data["kind"] == "promote" else RollbackWish(**fields)


def options_from_json(data: Mapping[str, Any]) -> Options:
    """Options as `dataclasses.asdict` and JSON left them; lists become tuples again."""
    parts: dict[str, type[Any]] = {
        "build": Build,
        "trace": Trace,
        "verify": Verify,
        "package": Package,
        "probe": Probe,
        "waves": Waves,
        "run": Run,
        "keep": Keep,
        "approval": Approval,
        "push": Push,
        "previews": Previews,
        "assets": Assets,
    }
    return Options(**{name: cls(**_tuples(data[name])) for name, cls in parts.items() if name in data})


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _deep_tuple(value) for key, value in data.items()}


def _deep_tuple(value: Any) -> Any:
    return tuple(_deep_tuple(item) for item in value) if isinstance(value, list) else value


def _release(text: str | None) -> ReleaseId | None:
    return ReleaseId(text) if text is not None else None
