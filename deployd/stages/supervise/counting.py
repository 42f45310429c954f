"""Hosts come in, what each of them counted of its visitors goes out; one that does not answer is in the list too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployd.domain.ids import AppName, EnvironmentName, HostName
    from deployd.domain.traffic import HostTraffic
    from deployd.errors import HostError
    from deployd.hosts.pool import Pool


def traffic(
    pool: Pool,
    hosts: Sequence[HostName],
    *,
    app: AppName,
    environment: EnvironmentName,
    since: str | Mapping[HostName, float],
    until: Mapping[HostName, float] | None = None,
    step: int = 60,
    skip_first: bool = False,
) -> dict[HostName, HostTraffic | HostError]:
    """Ask all hosts in parallel. `since` is an age (`15m`), or a moment for each host, by that host's own clock."""
    ends = until or {}
    return pool.each(
        hosts,
        lambda helper: helper.traffic(
            app,
            environment,
            since=since if isinstance(since, str) else since[helper.name],
            until=ends.get(helper.name),
            step=step,
            skip_first=skip_first,
        ),
    )
