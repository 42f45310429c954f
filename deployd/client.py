"""The one way from the command line to the engine: wishes come in, results go out, all in this process for now.

Making a `Client` is cheap: no DBOS, no SSH, and the store opens when it is first asked. What takes time gets a `report`
for its events and a `cancel` event to end it cleanly. Errors are `DeploydError`s.

For whoever ends the process: once `used_engine` is True, the engine's threads may still run. Flush the streams and
leave by `os._exit`; `sys.exit` would wait for them, and finish what was cancelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from deployd.errors import NotFoundError
from deployd.queries import Queries

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from deployd.agenda import Agenda
    from deployd.domain.events import Report
    from deployd.domain.host import Host
    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId, RolloutId
    from deployd.domain.options import Options
    from deployd.domain.release import Mark
    from deployd.domain.secret import Secret
    from deployd.doors import Doors
    from deployd.errors import HostError
    from deployd.hosts.pool import Pool
    from deployd.paths import StatePaths
    from deployd.rollouts.certified import Kept
    from deployd.rollouts.wishes import (
        ActivateWish,
        Pin,
        Plan,
        PromoteWish,
        PruneResult,
        ReleaseWish,
        RollbackWish,
        RolloutResult,
        Variable,
    )
    from deployd.rollouts.workshop import Workshop
    from deployd.servers import Servers
    from deployd.store import Store
    from deployd.traffic import Traffic


class Client(Queries):
    """All that the command line asks for. `who` is written beside what is done; tests bring their own `connect`."""

    def __init__(
        self,
        paths: StatePaths,
        *,
        who: str,
        command: str | None = None,
        connect: Callable[[Sequence[Host]], Pool] | None = None,
        database_url: str | None = None,
    ) -> None:
        self._database_url = database_url
        self.paths = paths
        self.who = who
        self.command = command
        self.used_engine = False
        self._connect = connect
        self._store: Store | None = None
        self._workshop: Workshop | None = None

    # hosts

    def add_host(self, host: Host) -> None:
        """Keep a host (or change what is known of it)."""
        self.store.hosts.put(host, who=self.who)

    def hosts(self) -> tuple[Host, ...]:
        """All hosts, by name."""
        return self.store.hosts.all()

    def host(self, name: HostName) -> Host:
        """One host; raises NotFoundError with the nearest name."""
        return self.store.hosts.get(name)

    def remove_host(self, name: HostName) -> None:
        """Forget a host; nothing is changed on it."""
        self.store.hosts.remove(name)

    # variables

    def set_variable(
        self,
        app: AppName,
        environment: EnvironmentName,
        key: str,
        value: Secret,
        *,
        build: bool = False,
        both: bool = False,
    ) -> None:
        """Keep a variable, encrypted; the next release takes it: its server, its build, or both."""
        self.store.variables.put(app, environment, key, value, build=build, both=both, who=self.who)

    def unset_variable(self, app: AppName, environment: EnvironmentName, key: str) -> None:
        """Remove a variable; raises NotFoundError."""
        self.store.variables.remove(app, environment, key)

    def variables(self, app: AppName, environment: EnvironmentName) -> tuple[Variable, ...]:
        """All variables of an environment, by key, without their values."""
        return self.store.variables.of(app, environment)

    def reveal_variables(self, app: AppName, environment: EnvironmentName) -> dict[str, Secret]:
        """All variables that people set, with their values (`env pull`)."""
        own = {one.key for one in self.variables(app, environment) if not one.managed}
        values = self.store.variables.reveal(app, environment)
        return {key: value for key, value in values.items() if key in own}

    # rollouts: they start the engine and run to the end

    def plan(self, wish: ReleaseWish) -> Plan:
        """What the wish would do, on which host and why. Changes nothing."""
        from deployd.rollouts import look

        with self._pool(wish.hosts) as pool:
            return look.plan_release(self.paths, self.store, pool, wish)

    def release(self, wish: ReleaseWish, *, report: Report, cancel: threading.Event) -> RolloutResult:
        """Bring a commit live; returns when it is live (or prepared), and raises the error of any other outcome."""
        from deployd.rollouts import perform

        return perform.release(self._working(), wish, report=report, cancel=cancel)

    def promote(self, wish: PromoteWish, *, report: Report, cancel: threading.Event) -> RolloutResult:
        """Bring the artifact of a release live in another environment."""
        from deployd.rollouts import perform

        return perform.release(self._working(), wish, report=report, cancel=cancel)

    def rollback(self, wish: RollbackWish, *, report: Report, cancel: threading.Event) -> RolloutResult:
        """Go back; a running release of the same app and environment is cancelled and turned back first."""
        from deployd.rollouts import perform

        return perform.rollback(self._working(), wish, report=report, cancel=cancel)

    def activate(
        self, wish: ActivateWish, *, report: Report, cancel: threading.Event, rollout: RolloutId | None = None
    ) -> RolloutResult:
        """Bring a release live that is prepared already; `rollout` is its id, when that was given out."""
        from deployd.rollouts import perform

        return perform.release(self._working(), wish, report=report, cancel=cancel, rollout=rollout)

    def resume(self, *, report: Report, cancel: threading.Event) -> list[RolloutResult]:
        """Finish or turn back every rollout whose process is gone."""
        from deployd.rollouts import settle

        return settle.resume(self._working(), report=report, cancel=cancel)

    def cancel(
        self, rollout: RolloutId | None, app: AppName | None = None, environment: EnvironmentName | None = None
    ) -> RolloutId:
        """Ask a running rollout (or the one of an app and environment) to turn back; comes back at once."""
        running = self.store.rollouts.unfinished(app, environment) if rollout is None else ()
        wanted = rollout or (running[-1].id if running else None)
        if wanted is None or not self.store.rollouts.ask_to_stop(wanted, who=self.who):
            if rollout is not None:
                self.store.rollouts.get(rollout)
            raise NotFoundError(
                f"rollout {rollout} is at its end already" if rollout else "no rollout is running",
                code="nothing-runs",
                fix="`deployd rollouts` shows what was done; `deployd rollback` goes back from what is live",
            )
        return wanted

    def prune(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        hosts: Sequence[HostName],
        options: Options,
        report: Report,
    ) -> tuple[PruneResult, ...]:
        """Remove the releases that are kept no longer, on each host."""
        from deployd.rollouts import upkeep

        with (
            self._pool(hosts) as pool,
            upkeep.held(self.paths, pool, app, environment, who=self.who, doing="prune", store=self.store),
        ):
            return upkeep.prune(self.store, pool, app, environment, options=options, report=report)

    def restart(self, app: AppName, environment: EnvironmentName, *, hosts: Sequence[HostName], report: Report) -> None:
        """Restart the live release's instances, one at a time, one host after the other."""
        from deployd.rollouts import upkeep

        with (
            self._pool(hosts) as pool,
            upkeep.held(self.paths, pool, app, environment, who=self.who, doing="restart", store=self.store),
        ):
            upkeep.restart(pool, app, environment, report=report)

    def mark(self, release: ReleaseId, mark: Mark) -> None:
        """Say that a release is good or bad."""
        self.store.releases.get(release)
        self.store.marks.set(release, mark, who=self.who)

    def pin(self, app: AppName, environment: EnvironmentName, *, release: ReleaseId | None = None) -> Pin:
        """Take no automatic release until `unpin`; `release` is only named, nothing is flipped."""
        if release is not None:
            self.store.releases.get(release)
        return self.store.pins.put(app, environment, release=release, who=self.who)

    def unpin(self, app: AppName, environment: EnvironmentName) -> bool:
        """Let automatic releases go on; False when it was not pinned."""
        return self.store.pins.remove(app, environment)

    # certificates that deployd obtains

    def certificates(self, app: AppName | None = None, environment: EnvironmentName | None = None) -> tuple[Kept, ...]:
        """Those of an app and environment, or of all."""
        from deployd.rollouts import certifying

        return tuple(
            one
            for one in certifying.everything(self.store)
            if app is None or (one.site.app, one.site.environment) == (app, environment)
        )

    def renew_certificate(
        self, kept: Kept, *, force: bool, report: Report
    ) -> tuple[Kept | None, dict[HostName, bool | HostError]]:
        """Obtain one anew if it is due (or by force) and bring it to its hosts: what it is now, each host's word."""
        from deployd.rollouts import certifying

        return certifying.renew(self.paths, self.store, self._pool, kept, who=self.who, force=force, report=report)

    # what has a client of its own

    @property
    def servers(self) -> Servers:
        """The servers as deployd's own key reaches them."""
        from deployd.servers import Servers

        return Servers(self)

    @property
    def traffic(self) -> Traffic:
        """What visitors asked for."""
        from deployd.traffic import Traffic

        return Traffic(self._pool)

    @property
    def doors(self) -> Doors:
        """Who is let in: maintenance, and links to previews."""
        from deployd.doors import Doors

        return Doors(self._pool, self.paths.make().root)

    @property
    def agenda(self) -> Agenda:
        """Schedules, freezes, approvals and confirmations."""
        from deployd.agenda import Agenda

        return Agenda(self)

    def exec(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        host: HostName,
        argv: Sequence[str],
        stdin: BinaryIO | None,
        stdout: BinaryIO,
        stderr: BinaryIO,
        cancel: threading.Event | None = None,
    ) -> int:
        """Run a command in the live release's environment on one host; returns its exit code."""
        with self._pool([host]) as pool:
            return pool.helper(host).exec(
                app, environment, argv, stdin=stdin, stdout=stdout, stderr=stderr, cancel=cancel
            )

    def unlock(self, app: AppName, environment: EnvironmentName, *, hosts: Sequence[HostName]) -> None:
        """Take the app's lock from whoever holds it on the hosts; a flip of theirs is refused from then on."""
        from deployd.rollouts.fleet import raise_first

        with self._pool(hosts) as pool:
            raise_first(pool.each(pool.names, lambda helper: helper.unlock(app, environment)))

    def close(self) -> None:
        """Close the engine and the store, for who goes on living."""
        if self._workshop:
            self._workshop.close()
        if self._store:
            self._store.close()
        self._workshop = self._store = None

    @property
    def store(self) -> Store:
        """What deployd remembers."""
        if self._store is None:
            from deployd.settings import database_url
            from deployd.store import Store

            self._store = Store(self.paths.make(), self._database_url or database_url())
        return self._store

    def _pool(self, names: Sequence[HostName]) -> Pool:
        hosts = self.store.hosts.some(names)
        if self._connect:
            return self._connect(hosts)
        from deployd.hosts.pool import Pool

        return Pool(hosts, paths=self.paths)

    def _working(self) -> Workshop:
        from deployd.rollouts.workshop import Workshop

        self.used_engine = True
        if self._workshop is None:
            self._workshop = Workshop(self.paths, self.store, who=self.who, command=self.command, connect=self._connect)
        return self._workshop
