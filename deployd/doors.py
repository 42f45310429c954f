"""Who is let in, and to what, for the command line: maintenance, canaries, links to previews; hosts come in, what each
did goes out.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from deployd.errors import DeploydError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
    from deployd.hosts.pool import Pool


class Doors:
    """What visitors meet before they meet the app. `pool_of` connects to hosts by their names; `notes` is the state
    folder, where it is noted that a canary was begun, so that a rollback need not ask the hosts whether there is one.
    """

    def __init__(self, pool_of: Callable[[Sequence[HostName]], Pool], notes: Path) -> None:
        self._pool_of = pool_of
        self._notes = notes

    def maintenance(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        hosts: Sequence[HostName],
        on: bool,
        allow: Sequence[str] = (),
        page: str | None = None,
    ) -> tuple[HostName, ...]:
        """Turn visitors away on these hosts, but for some addresses, or let them in; returns where that was new.

        No rollout has to wait for it, and no lock is taken: it is for bad moments too. Raises the weightiest HostError
        when all hosts have been asked.
        """
        from deployd.rollouts.fleet import raise_first

        with self._pool_of(hosts) as pool:
            done = pool.each(
                pool.names, lambda helper: helper.maintenance(app, environment, on=on, allow=allow, page=page)
            )
        raise_first(done, live="as it was on the hosts that are named, and changed on the others")
        return tuple(name for name, changed in done.items() if changed is True)

    def canary(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        hosts: Sequence[HostName],
        release: ReleaseId,
        percent: float,
    ) -> None:
        """Give so many of a hundred visitors a release that is prepared on all these hosts.

        Raises the weightiest HostError, after ending it where it had begun.
        """
        from deployd.rollouts.fleet import raise_first

        self._note(app, environment).write_text(release)
        with self._pool_of(hosts) as pool:
            done = pool.each(
                pool.names, lambda helper: helper.canary(app, environment, release=release, percent=percent)
            )
            if any(isinstance(one, DeploydError) for one in done.values()):
                pool.each(pool.names, lambda helper: helper.canary(app, environment, release=None))
        raise_first(done, live="the current release, for everybody")

    def end_canary(self, app: AppName, environment: EnvironmentName, *, hosts: Sequence[HostName]) -> ReleaseId | None:
        """Give everybody the current release; returns the one that some had, None when there was no canary.

        Asks no host when none was begun from here. Raises the weightiest HostError.
        """
        from deployd.rollouts.fleet import raise_first

        note = self._note(app, environment)
        if not note.exists():
            return None
        with self._pool_of(hosts) as pool:
            done = pool.each(pool.names, lambda helper: helper.canary(app, environment, release=None))
        raise_first(done, live="the current release, but for the canary's visitors on the hosts that are named")
        note.unlink(missing_ok=True)
        return next((one for one in done.values() if one is not None and not isinstance(one, DeploydError)), None)

    def _note(self, app: AppName, environment: EnvironmentName) -> Path:
        return self._notes / f"canary-{app}-{environment}"

    def share(
        self, app: AppName, environment: EnvironmentName, *, hosts: Sequence[HostName], label: str, seconds: float
    ) -> str:
        """Make a key that opens one preview on these hosts for a time. Raises the weightiest HostError."""
        from deployd.rollouts.fleet import raise_first

        key = secrets.token_urlsafe(24)
        with self._pool_of(hosts) as pool:
            raise_first(
                pool.each(
                    pool.names,
                    lambda helper: helper.share(app, environment, label=label, key=key, seconds=seconds),
                )
            )
        return key
