"""What visitors asked for, for the command line: hosts come in, what each of them counted goes out."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deployd.domain.ids import AppName, EnvironmentName, HostName
    from deployd.domain.traffic import HostTraffic
    from deployd.errors import HostError
    from deployd.hosts.helper import Helper
    from deployd.hosts.pool import Pool


class Reader(Protocol):
    """Reads the last `seconds`, again and again; one entry for each host, in their order."""

    def __call__(self, seconds: float) -> dict[HostName, HostTraffic | HostError]:
        """Read now."""


class Traffic:
    """Asks the hosts. `pool_of` connects to hosts by their names."""

    def __init__(self, pool_of: Callable[[Sequence[HostName]], Pool]) -> None:
        self._pool_of = pool_of

    @contextmanager
    def reader(self, app: AppName, environment: EnvironmentName, *, hosts: Sequence[HostName]) -> Iterator[Reader]:
        """A reader over open connections."""
        with self._pool_of(hosts) as pool:
            yield Window(pool, app, environment)


class Window:
    """Keeps what it read, so that a host counts each request once however often it is asked."""

    def __init__(self, pool: Pool, app: AppName, environment: EnvironmentName) -> None:
        self._pool = pool
        self._place = (app, environment)
        self._kept: dict[HostName, HostTraffic] = {}

    def __call__(self, seconds: float) -> dict[HostName, HostTraffic | HostError]:
        """The last `seconds` of each host."""
        app, environment = self._place
        step = max(1, min(3600, int(seconds / 60)))

        def ask(helper: Helper) -> HostTraffic:
            kept = self._kept.get(helper.name)
            since: str | float = kept.until if kept else f"{max(1, round(seconds))}s"
            return helper.traffic(app, environment, since=since, step=step)

        answers = self._pool.each(self._pool.names, ask)
        for name, answer in answers.items():
            if not isinstance(answer, Exception):
                answers[name] = self._kept[name] = _joined(self._kept.get(name), answer, seconds)
        return answers


def _joined(kept: HostTraffic | None, fresh: HostTraffic, seconds: float) -> HostTraffic:
    if kept is None:
        return fresh
    begin = fresh.until - seconds
    return replace(
        fresh,
        since=max(kept.since, begin),
        oldest=kept.oldest if kept.oldest is not None else fresh.oldest,
        cells=(*(one for one in kept.cells if one.start >= begin), *fresh.cells),
        vitals=(*(one for one in kept.vitals if one.start >= begin), *fresh.vitals),
    )
