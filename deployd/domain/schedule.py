"""What the clock and people decide about rollouts: schedules, freezes and approvals, as frozen values.

Moments are ISO 8601 in UTC.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from deployd.domain.cron import Cron, next_runs
from deployd.domain.when import parse_zone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.domain.ids import AppName, EnvironmentName, ReleaseId, RolloutId

ScheduleKind = Literal["release", "rollback", "promote"]
Purpose = Literal["schedule", "unconfirmed"]
Missed = Literal["run", "skip"]
ScheduleState = Literal["active", "done", "cancelled", "confirmed"]
RunOutcome = Literal["asked", "skipped", "dropped", "refused"]
ApprovalState = Literal["pending", "approved", "rejected", "expired", "superseded"]
ID = re.compile(r"[sf]-[0-9a-z]{6}|u-r-[0-9]{8}-[0-9]{6}-[0-9a-z]{6}")
_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A rollout that is to happen: once `at` a moment, or whenever `cron` matches in `timezone`.

    `release` is what a promote or rollback names, `environment` where it goes, `ref` what a release fetches. A
    `purpose` of "unconfirmed" is the way back of `rollout`, taken unless somebody confirms it. `next_at` is the run
    that is to come, `firing` one that has begun and may not have been asked yet: whoever finds it asks again.
    `wish` is the rollout's wish (JSON), where it was known already.
    """

    id: str
    app: AppName
    environment: EnvironmentName
    kind: ScheduleKind
    purpose: Purpose = "schedule"
    ref: str | None = None
    release: ReleaseId | None = None
    at: str | None = None
    cron: str | None = None
    timezone: str = "UTC"
    if_missed: Missed = "run"
    message: str | None = None
    rollout: RolloutId | None = None
    wish: Mapping[str, Any] | None = None
    who: str
    created: str
    state: ScheduleState = "active"
    next_at: str | None = None
    firing: str | None = None
    ended_by: str | None = None

    def after(self, moment: datetime, *, count: int = 1) -> tuple[datetime, ...]:
        """The runs after a moment, in UTC; none when it happens once and that is over."""
        if self.cron:
            zone = parse_zone(self.timezone)
            return next_runs(Cron.parse(self.cron), after=moment, zone=zone, count=count)
        at = datetime.fromisoformat(self.at) if self.at else moment
        return (at,) if at > moment else ()

    def to_json(self) -> dict[str, Any]:
        """As in `schedule list --json`."""
        return {key: value for key, value in asdict(self).items() if key not in {"wish", "firing"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRun:
    """One run of a schedule: when it was to be, when it came, and what came of it. `key` is its ask's."""

    schedule: str
    planned: str
    fired: str
    outcome: RunOutcome
    key: str | None = None
    why: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As in `schedule list --json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """Until `until` an environment takes no automatic release, and a person's only with `--during-freeze`."""

    id: str
    app: AppName
    environment: EnvironmentName
    until: str
    reason: str | None
    who: str
    created: str
    ended: str | None = None
    ended_by: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As in `freeze list --json` and `status --json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A rollout that is prepared and waits for a person until `until`. `activation` is the rollout that went live.

    `by_another` says that whoever asked for it may not approve it.
    """

    rollout: RolloutId
    app: AppName
    environment: EnvironmentName
    release: ReleaseId
    asked_by: str
    by_another: bool
    created: str
    until: str
    state: ApprovalState
    decided_by: str | None = None
    decided: str | None = None
    reason: str | None = None
    activation: RolloutId | None = None

    def to_json(self) -> dict[str, Any]:
        """As in `approvals --json` and `status --json`."""
        return asdict(self)


def new_id(letter: Literal["s", "f"]) -> str:
    """A fresh id: `s-k2x7ab` for a schedule, `f-k2x7ab` for a freeze."""
    return f"{letter}-{''.join(secrets.choice(_LETTERS) for _ in range(6))}"


def way_back_id(rollout: RolloutId) -> str:
    """The id of the schedule that rolls `rollout` back when nobody confirms it."""
    return f"u-{rollout}"
