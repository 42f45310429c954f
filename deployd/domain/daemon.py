"""What the daemon keeps beside rollouts, as frozen values: asks in the queue, registered apps, tokens, the audit log.

Times are ISO 8601 in UTC.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from deployd.domain.options import APP_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.domain.ask import Ask
    from deployd.domain.ids import AppName, RolloutId

Scope = Literal["read", "release", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "release", "admin")
"""What a token may do; each includes those before it."""

AskState = Literal["waiting", "running", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedAsk:
    """One ask as the queue keeps it. `id` is the id of the rollout that it becomes.

    `reason` says why a waiting one waits. `outcome` is the rollout's, or `superseded`, `cancelled`, `failed` or
    `ignored` of one that never became a rollout. `wish` is the wish made of it (JSON), once that is known.
    """

    id: RolloutId
    number: int
    ask: Ask
    state: AskState
    reason: str | None
    wish: Mapping[str, Any] | None
    created: str
    started: str | None
    finished: str | None
    outcome: str | None
    error: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """As in `rollouts --json`, for what is no rollout yet."""
        return {
            **{key: value for key, value in asdict(self).items() if key not in {"wish", "ask", "number"}},
            "kind": self.ask.kind,
            "app": self.ask.app,
            "environment": self.ask.environment,
            "who": self.ask.who,
            "cause": self.ask.cause,
            "branch": self.ask.branch,
            "commit": self.ask.commit,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredApp:
    """An app that the daemon releases by itself: where its repository is, and its folder in there ("" is the top)."""

    name: AppName
    repository: str
    subdir: str
    created: str
    who: str

    @property
    def file(self) -> str:
        """The path of its deployd.toml in the repository."""
        return f"{self.subdir}/{APP_FILE}" if self.subdir else APP_FILE

    def to_json(self) -> dict[str, Any]:
        """As in `app list --json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token without its secret. `apps` is what it may touch; empty means every app."""

    id: str
    scope: Scope
    apps: tuple[AppName, ...]
    note: str | None
    created: str
    who: str
    expires: str | None
    revoked: str | None
    used: str | None

    def to_json(self) -> dict[str, Any]:
        """As in `token list --json`."""
        return asdict(self) | {"apps": list(self.apps)}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who did what, when, from where. Never changed, never removed."""

    id: int
    time: str
    who: str
    origin: str
    action: str
    app: str | None
    environment: str | None
    subject: str | None
    outcome: str
    details: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """As in `audit --json`."""
        return asdict(self)
