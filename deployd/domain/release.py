"""A release, and what is live where."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deployd.domain.ids import AppName, ArtifactName, BuildId, EnvironmentName, ReleaseId, RuntimeName


class ReleaseState(StrEnum):
    """How far a release came."""

    NEW = "new"
    PREPARED = "prepared"
    LIVE = "live"
    RETIRED = "retired"
    FAILED = "failed"
    PRUNED = "pruned"


class Mark(StrEnum):
    """What a person or a rollback said of a release."""

    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release as the store keeps it. Times are ISO 8601 in UTC; `live_at` is None until it was live."""

    id: ReleaseId
    app: AppName
    environment: EnvironmentName
    artifact: ArtifactName
    build_id: BuildId
    runtime: RuntimeName
    commit: str | None
    branch: str | None
    subject: str | None
    dirty: bool
    who: str
    message: str | None
    created: str
    state: ReleaseState
    mark: Mark | None = None
    live_at: str | None = None

    @property
    def was_live(self) -> bool:
        """Whether it was live at some time."""
        return self.live_at is not None
