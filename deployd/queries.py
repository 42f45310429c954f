"""What the command line asks and what changes nothing: apps, releases and rollouts come in, what is known of them goes
out. Queries never start the engine; those about hosts ask the hosts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    from deployd.domain.events import Report
    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId, RolloutId
    from deployd.domain.release import Release
    from deployd.hosts.pool import Pool
    from deployd.paths import StatePaths
    from deployd.rollouts.wishes import LockState, LogLine, RolloutRecord, RolloutResult, Status
    from deployd.store import Store


class Queries:
    """The part of the client that only looks."""

    paths: StatePaths

    @property
    def store(self) -> Store:
        """What deployd remembers."""
        raise NotImplementedError

    def _pool(self, names: Sequence[HostName]) -> Pool:
        """Some hosts by name."""
        raise NotImplementedError

    def status(self, app: AppName, environment: EnvironmentName, hosts: Sequence[HostName]) -> Status:
        """What is live where, asked of the hosts."""
        from deployd.rollouts import look

        with self._pool(hosts) as pool:
            return look.status(self.store, pool, app, environment)

    def releases(self, app: AppName, environment: EnvironmentName) -> tuple[Release, ...]:
        """All releases, newest first."""
        return self.store.releases.of(app, environment)

    def release_by_id(self, release: ReleaseId) -> Release:
        """One release; raises NotFoundError."""
        return self.store.releases.get(release)

    def diff(self, before: ReleaseId, after: ReleaseId) -> dict[str, Any]:
        """What differs between two releases, as `diff --json` says it, and `sizes`; raises NotFoundError."""
        from deployd.rollouts import differences

        old, new = (self.store.releases.get(one) for one in (before, after))
        return differences.between(old, new, artifacts=self.paths.artifacts)

    def rollouts(
        self, app: AppName | None = None, environment: EnvironmentName | None = None, *, limit: int = 20
    ) -> tuple[RolloutRecord, ...]:
        """What was done, newest first."""
        from deployd.rollouts.story import as_seen

        return tuple(as_seen(self.store, one) for one in self.store.rollouts.latest(app, environment, limit=limit))

    def rollout_by_id(self, rollout: RolloutId) -> RolloutRecord:
        """One rollout; raises NotFoundError."""
        return self.store.rollouts.get(rollout)

    def waiting(self, app: AppName | None = None, environment: EnvironmentName | None = None) -> list[dict[str, Any]]:
        """What waits in a daemon's queue; without a daemon there is none that would take it out."""
        del app, environment
        return []

    def story(self, rollout: RolloutId) -> dict[str, Any]:
        """One rollout as JSON: `rollout`, `steps`, `ask` (what it was in the queue, or None); raises NotFoundError."""
        from deployd.rollouts.story import as_seen, story

        found, ask = self.store.rollouts.find(rollout), self.store.queue.find(rollout)
        if found is None and ask is None:
            self.store.rollouts.get(rollout)
        return {
            "rollout": as_seen(self.store, found).to_json() if found else None,
            "steps": [step.to_json() for step in story(self.store.events.of(rollout))],
            "ask": ask.to_json() if ask else None,
        }

    def is_unconfirmed(self, rollout: RolloutId) -> bool:
        """Whether a release goes back by itself unless somebody confirms it."""
        from deployd.domain.schedule import way_back_id

        found = self.store.schedules.find(way_back_id(rollout))
        return found is not None and found.state == "active"

    def follow(self, rollout: RolloutId, *, report: Report, cancel: threading.Event) -> RolloutResult:
        """Watch a rollout that any process runs, until its end; `cancel` only ends the watching."""
        from deployd.rollouts import watching

        return watching.follow(self.store, rollout, report=report, leave=cancel)

    def logs(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        hosts: Sequence[HostName],
        follow: bool = False,
        lines: int = 100,
        since: str | None = None,
        release: ReleaseId | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[LogLine]:
        """The servers' logs of all hosts, merged by time. Close the iterator to end it."""
        from deployd.rollouts.wishes import LogLine
        from deployd.stages import supervise

        with self._pool(hosts) as pool:
            for line in supervise.logs(
                pool,
                pool.names,
                app=app,
                environment=environment,
                release=release,
                lines=lines,
                since=since,
                follow=follow,
                cancel=cancel,
            ):
                yield LogLine(
                    host=line.host,
                    time=line.time,
                    release=line.release,
                    instance=line.instance,
                    message=line.message,
                    stream=line.stream,
                )

    def locks(self, app: AppName, environment: EnvironmentName, *, hosts: Sequence[HostName]) -> tuple[LockState, ...]:
        """Who holds the app's lock on each host."""
        from deployd.rollouts import look

        with self._pool(hosts) as pool:
            return look.locks(pool, pool.names, app, environment)
