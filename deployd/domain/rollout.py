"""What the store keeps of a rollout, of a variable and of a pin, as frozen values. Times are ISO 8601 in UTC."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.domain.ids import AppName, EnvironmentName, ReleaseId, RolloutId

Outcome = Literal["live", "prepared", "waiting", "failed", "partly_live", "cancelled", "superseded"]
Kind = Literal["release", "promote", "rollback", "activate", "adopt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRecord:
    """One rollout as the store keeps it.

    `state` is one of `rollouts.states.State`; `owner` names the process that runs it. `intent` is what each host had
    before (host -> release or None), once that was asked; `touched` says that a flip has begun. `wish` is what was
    asked for.
    """

    id: RolloutId
    kind: Kind
    app: AppName
    environment: EnvironmentName
    state: str
    release: ReleaseId | None
    who: str
    created: str
    finished: str | None
    outcome: Outcome | None
    owner: str | None
    cancel_requested: str | None
    superseded_by: RolloutId | None
    touched: bool
    intent: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    result: Mapping[str, Any] | None
    wish: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As in `rollouts --json`."""
        return {key: value for key, value in asdict(self).items() if key not in {"wish", "owner"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable without its value: for servers, for builds (`build`), or for `both`.

    `managed` ones are deployd's own, and serve at build and at run time.
    """

    key: str
    build: bool
    updated: str
    who: str
    managed: bool = False
    both: bool = False

    def to_json(self) -> dict[str, Any]:
        """As in `env list --json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A pinned environment takes no automatic release. `automatic`: a rollback pinned it, not a person."""

    release: ReleaseId | None
    automatic: bool
    who: str
    at: str

    def to_json(self) -> dict[str, Any]:
        """As in `status --json`."""
        return asdict(self)
