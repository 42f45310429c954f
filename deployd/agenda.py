"""Schedules, freezes and approvals of this machine's own state folder, for the command line: words in, JSON out.

Without a daemon the rows are written all the same; `fires` says whether somebody acts on them. `remote/agenda.py` has
the same methods over the daemon's API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployd.domain.ids import RolloutId
from deployd.errors import UsageError

if TYPE_CHECKING:
    import threading

    from deployd.client import Client
    from deployd.domain.events import Report
    from deployd.domain.ids import AppName, EnvironmentName
    from deployd.rollouts.wishes import RolloutResult

    Json = dict[str, Any]


class Agenda:
    """What is to happen, what must not, and what waits for a yes."""

    fires = False
    """Whether a daemon runs that does what is scheduled."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def schedule(self, **wanted: Any) -> Json:
        """Make a schedule; the arguments are those of `rollouts.timing.schedule` without store and who."""
        from deployd.rollouts import timing

        made = timing.schedule(self._client.store, who=self._client.who, **wanted)
        self._audit("schedule", made.app, made.environment, made.id, kind=made.kind, cron=made.cron, at=made.at)
        return timing.describe(self._client.store, made)

    def schedules(self, app: AppName, environment: EnvironmentName | None, *, every: bool = False) -> list[Json]:
        """Those that are to come (with `every` all of them), with their next runs and their last ones."""
        from deployd.rollouts import timing

        store = self._client.store
        found = store.schedules.latest(app, environment) if every else store.schedules.active(app, environment)
        return [timing.describe(store, one) for one in found]

    def cancel_schedule(self, schedule: str) -> Json:
        """Cancel one."""
        from deployd.rollouts import timing

        found = timing.cancel_schedule(self._client.store, schedule, who=self._client.who)
        self._audit("cancel schedule", found.app, found.environment, found.id)
        return timing.describe(self._client.store, found)

    def run_schedule(self, schedule: str) -> RolloutId:
        """Run one at once: for the daemon only."""
        self._client.store.schedules.get(schedule)
        raise UsageError(
            "only the daemon runs schedules, and none owns this state folder",
            code="daemon-needed",
            fix="start it (`deployd serve`), or release or roll back by the command itself",
        )

    def confirm(self, rollout: RolloutId | None, app: AppName, environment: EnvironmentName) -> Json:
        """Keep what is live."""
        from deployd.rollouts import timing

        found = timing.confirm(self._client.store, rollout, app, environment, who=self._client.who)
        self._audit("confirm", found.app, found.environment, str(found.rollout))
        return found.to_json()

    def guard(self, rollout: RolloutId, *, report: Report, cancel: threading.Event) -> RolloutResult | None:
        """Stay until `rollout` is confirmed, or go back when nobody does: what a daemon would do, were there one."""
        from deployd.rollouts import guarding

        client = self._client
        return guarding.guard(
            client.store,
            rollout,
            leave=cancel,
            back=lambda wish: client.rollback(wish, report=report, cancel=cancel),
        )

    def freeze(self, app: AppName, environment: EnvironmentName, **wanted: Any) -> Json:
        """Freeze an environment; the other arguments are those of `rollouts.timing.freeze`."""
        from deployd.rollouts import timing

        made = timing.freeze(self._client.store, app, environment, who=self._client.who, **wanted)
        self._audit("freeze", app, environment, made.id, until=made.until, reason=made.reason)
        return made.to_json()

    def freezes(self, app: AppName, environment: EnvironmentName | None) -> list[Json]:
        """Freezes in force."""
        return [one.to_json() for one in self._client.store.freezes.active(app, environment)]

    def unfreeze(self, app: AppName, environment: EnvironmentName) -> int:
        """End the freezes of an environment; returns how many there were."""
        ended = self._client.store.freezes.end(app, environment, who=self._client.who)
        if ended:
            self._audit("unfreeze", app, environment, None)
        return ended

    def approvals(self, app: AppName, environment: EnvironmentName | None, *, every: bool = False) -> list[Json]:
        """What waits for a yes (with `every` what was decided too)."""
        kept = self._client.store.approvals
        found = kept.latest(app, environment) if every else kept.pending(app, environment)
        return [one.to_json() for one in found]

    def approve(
        self,
        rollout: RolloutId | None,
        app: AppName,
        environment: EnvironmentName,
        *,
        during_freeze: bool,
        report: Report,
        cancel: threading.Event,
    ) -> RolloutResult:
        """Say yes, and bring the prepared release live here and now."""
        from deployd.rollouts import consent, gates

        client, store = self._client, self._client.store
        approval = consent.find(store, rollout, app, environment)
        gates.refuse_frozen(store, approval.app, approval.environment, during_freeze=during_freeze)
        wish = consent.approve(store, approval, who=client.who, during_freeze=during_freeze)
        self._audit("approve", approval.app, approval.environment, str(approval.rollout), release=approval.release)
        activation = RolloutId.new()
        store.approvals.set_activation(approval.rollout, activation)
        return client.activate(wish, report=report, cancel=cancel, rollout=activation)

    def reject(
        self, rollout: RolloutId | None, app: AppName, environment: EnvironmentName, *, reason: str | None
    ) -> Json:
        """Say no."""
        from deployd.rollouts import consent

        approval = consent.find(self._client.store, rollout, app, environment)
        found = consent.reject(self._client.store, approval, who=self._client.who, reason=reason)
        self._audit("reject", found.app, found.environment, str(found.rollout), reason=reason)
        return found.to_json()

    def _audit(
        self, action: str, app: AppName, environment: EnvironmentName, subject: str | None, **details: Any
    ) -> None:
        self._client.store.audit.add(
            who=self._client.who,
            origin="command line",
            action=action,
            app=app,
            environment=environment,
            subject=subject,
            details={key: value for key, value in details.items() if value is not None},
        )
