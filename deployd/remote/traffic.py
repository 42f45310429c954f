"""What visitors asked for, over the daemon's API; the methods are those of `deployd/traffic.py`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from deployd.domain import counted
from deployd.domain.ids import HostName
from deployd.errors import HostError
from deployd.remote import values
from deployd.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deployd.domain.ids import AppName, EnvironmentName
    from deployd.domain.traffic import HostTraffic
    from deployd.hosts.pool import Pool
    from deployd.remote.connection import Connection
    from deployd.traffic import Reader


class RemoteTraffic(Traffic):
    """Asked of a daemon, which keeps more than the hosts do."""

    def __init__(self, pool_of: Callable[[Sequence[HostName]], Pool], link: Connection) -> None:
        super().__init__(pool_of)
        self._link = link

    @contextmanager
    def reader(self, app: AppName, environment: EnvironmentName, *, hosts: Sequence[HostName]) -> Iterator[Reader]:
        """A reader over the daemon's connection."""

        def read(seconds: float) -> dict[HostName, HostTraffic | HostError]:
            path = f"{values.place(app, environment)}/traffic"
            reply = self._link.call("GET", path, host=list(hosts), since=seconds)
            answers: dict[HostName, HostTraffic | HostError] = {}
            for one in reply["hosts"]:
                name = HostName(one["name"])
                answers[name] = HostError(**one["error"]) if one["error"] else counted.from_json(one, host=name)
            return answers

        yield read
