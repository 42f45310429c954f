"""What waits in the daemon's queue: somebody's or something's wish for a rollout, before it is one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from deployd.domain.ids import AppName, EnvironmentName, ReleaseId

Cause = Literal["person", "push", "pull_request", "schedule", "unconfirmed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One wish. `key` makes it happen once: a second ask of one key (a delivery, a schedule and its time) is none.

    A release names `ref` (what to fetch) and, when known, `commit`; its options are read from that commit's
    `deployd.toml`. A rollback names `release` or nothing; a promote names `release` and the `environment` it goes to.
    With `confirm_within` (seconds) it goes back by itself unless it is confirmed; `during_freeze` goes live although
    the environment is frozen. `automatic` asks wait for freezes and pins; those of people do not. `details` is what
    the cause adds (a pull request's number and URL, a delivery's id): plain JSON, no secret.
    """

    kind: Literal["release", "rollback", "promote"]
    app: AppName
    environment: EnvironmentName
    cause: Cause
    who: str
    key: str | None = None
    ref: str | None = None
    commit: str | None = None
    branch: str | None = None
    release: ReleaseId | None = None
    activate: bool = True
    confirm_within: float | None = None
    during_freeze: bool = False
    automatic: bool = False
    message: str | None = None
    details: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """As the queue keeps it."""
        return asdict(self)
