"""Who is let in, for the command line: maintenance and links to previews; hosts come in, what each did goes out."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployd.domain.ids import AppName, EnvironmentName, HostName
    from deployd.hosts.pool import Pool


class Doors:
    """What visitors meet before they meet the app. `pool_of` connects to hosts by their names."""

    def __init__(self, pool_of: Callable[[Sequence[HostName]], Pool]) -> None:
        self._pool_of = pool_of

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
