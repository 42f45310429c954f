"""Doors and servers in memory, for the client that the command line's tests drive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from deployd.domain.ids import ReleaseId
from deployd.servers import Servers

R1 = ReleaseId("20261120-101530-aaaaaaa-aaaa")


@dataclass
class FakeDoors:
    """Who is let in, in memory. `noted` is the canary that was begun."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    changed: tuple[str, ...] = ("web1",)
    noted: ReleaseId | None = None

    def maintenance(self, app: str, environment: str, **wanted: Any) -> tuple[str, ...]:
        self.asked.append({"app": app, "environment": environment, **wanted})
        return self.changed

    def share(self, app: str, environment: str, **wanted: Any) -> str:
        self.asked.append({"app": app, "environment": environment, **wanted})
        return "k" * 32

    def canary(self, app: str, environment: str, **wanted: Any) -> None:
        self.asked.append({"app": app, "environment": environment, **wanted})
        self.noted = wanted["release"]

    def end_canary(self, app: str, environment: str, *, hosts: Any) -> ReleaseId | None:
        was, self.noted = self.noted, None
        return was


class FakeServers(Servers):
    """What hosts have of an app, and what is taken off them, in memory."""

    def presence(self, app: Any, environment: Any, hosts: Any) -> list[dict[str, Any]]:
        has = {"live": R1, "releases": 2, "bytes": 4096, "processes": 1, "addresses": ("shop.example",)}
        return [{"host": host, **has, "configured": True, "error": None} for host in hosts]

    def destroy(self, app: Any, environment: Any, hosts: Any, **wanted: Any) -> dict[str, Any]:
        client: Any = self._client
        client.destroyed.append((tuple(hosts), wanted["everywhere"], wanted["variables"]))
        gone = [{**one, "removed": True, "freed_bytes": 1024} for one in self.presence(app, environment, hosts)]
        return {"hosts": gone, "schedules": [], "variables": []}

    def drain(self, hosts: Any, place: Any, *, on: bool | None) -> list[dict[str, Any]]:
        client: Any = self._client
        names = [str(host.name) for host in hosts]
        if on is not None:
            client.drains.append((tuple(names), place, on))
        if on is not None and place is None:
            client.drained_by = {**client.drained_by, **dict.fromkeys(names, "ada")} if on else {}
        why = ["host"] if on is not False else []
        return [{"host": name, "drained": why, "changed": bool(on), "open": 0} for name in names]

    def drained(self) -> dict[str, str]:
        client: Any = self._client
        return dict(client.drained_by)
