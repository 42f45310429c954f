"""Values of certificates that deployd obtains: for which names and hosts, what there is, when the next try is due."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployd.certificates import reading
from deployd.domain import sites
from deployd.domain.secret import Secret

if TYPE_CHECKING:
    from deployd.domain.ids import AppName, EnvironmentName, HostName

HOUR = 3600.0
_WAITS = tuple(hours * HOUR - 60 for hours in (1, 2, 4, 8, 12))  # a minute less: who looks hourly is there in time
_NO_KEY = Secret("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Which names of an app need one certificate, from which authority, on which hosts. `root` is PEM."""

    app: AppName
    environment: EnvironmentName
    names: tuple[str, ...]
    hosts: tuple[HostName, ...]
    directory: str = sites.DIRECTORY
    email: str | None = None
    root: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is kept beside the certificate, for the next time."""
        fields = ("names", "hosts", "directory", "email", "root")
        return json.loads(json.dumps({name: getattr(self, name) for name in fields}))  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A certificate that deployd obtained, with the site that it is for; None (and no chain) while there is none yet.

    `problem` is why the last try failed, `tried` when that was (seconds since the epoch), and `failures` how many
    tries in a row have failed, or got it for some of the names alone.
    """

    site: Site
    chain: str = ""
    key: Secret = _NO_KEY
    certificate: reading.Certificate | None = None
    problem: str | None = None
    tried: float = 0.0
    failures: int = 0

    @property
    def next_try(self) -> float | None:
        """When a daemon asks again, in seconds since the epoch; None when nothing failed.

        An hour after the first failure, then twice as long each time, half a day at most, so a name that leads nowhere
        costs an authority (and its limits) little; and an eighth of what is left at most, so none ends meanwhile.
        """
        if self.problem is None:
            return None
        wait = _WAITS[min(max(self.failures, 1), len(_WAITS)) - 1]
        if self.certificate:
            wait = min(wait, max(_WAITS[0], self.certificate.left(self.tried) / 8))
        return self.tried + wait

    def rests(self, now: float) -> bool:
        """Whether it is too early to ask again. A try that is still to come was told by a clock that was wrong."""
        return self.tried <= now < (self.next_try or 0.0)

    def to_json(self) -> dict[str, Any]:
        """As in `domain renew --json`."""
        return {
            "app": self.site.app,
            "environment": self.site.environment,
            **(self.certificate.to_json() if self.certificate else _nothing(self.site)),
            "missing": list(sites.uncovered(self.site.names, self.certificate.names if self.certificate else ())),
            "hosts": list(self.site.hosts),
            "problem": self.problem,
            "tried": reading.when(self.tried) if self.problem else None,
            "next_try": reading.when(self.next_try) if self.next_try else None,
        }


def _nothing(site: Site) -> dict[str, Any]:
    return {"names": list(site.names), "begins": None, "ends": None, "issuer": None}
