"""A release that is live comes in; after its bake it stays, or an error with numbers goes out, and it is turned back.

Each host's requests are compared with those that the release before answered there, in a window as long. All moments
are by the host's own clock, so a process that was killed goes on where the clock is. Hosts that are not flipped yet are
asked too: what the release before suffers there at the same time is no fault of the new one.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from deployd.domain.events import Event
from deployd.domain.release import Mark
from deployd.errors import DeploydError, HostError
from deployd.stages import supervise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.domain.ids import HostName, ReleaseId
    from deployd.domain.traffic import Cell, HostTraffic
    from deployd.rollouts.fleet import Previous
    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.values import Json

_LOOKS = 20
_EARLIER = 3600.0  # seconds that count as before, where the window itself had hardly any requests
_FEW = 100
_COLD = 5.0  # seconds after a flip that tell more of a cold start than of a release
_WARMS = 1 / 3  # of the bake, before which nobody says that a release is slow
_SETTLES = 1.0  # seconds until a host has written what ended
_PATIENCE = 60.0  # seconds after the end for which hosts that do not answer are asked again


def bake(rollout: Rollout, release: ReleaseId, previous: Previous, others: Previous | None = None) -> Json:
    """Watch the release on the hosts of `previous`; raises DeploydError `bake-failed` as soon as visitors are clearly
    worse off. `others` are hosts that have the release before still.
    """
    watch = _Watch(rollout, release, previous, others or {})
    while True:
        verdict, left = watch.look()
        rollout.report(
            Event.BAKE_LOOKED,
            release=release,
            outcome=verdict.outcome,
            what=verdict.what,
            requests=verdict.requests,
            before=verdict.before,
            seconds_left=round(max(0.0, left), 1),
            hosts=list(previous),
            waits=len(others or {}),
        )
        rollout.recorder.flush()  # who asks for the status is to know it
        if verdict.outcome == "worse":
            if rollout.store.releases.find(release):
                rollout.store.marks.set(release, Mark.BAD, who="deployd")
            raise DeploydError(
                f"visitors are worse off with {release}: {verdict.what}",
                code="bake-failed",
                fix="see `deployd logs --release ID` and `deployd traffic --release ID`; mend it, then release again",
            )
        if left <= 0:
            if verdict.outcome == "little":
                goes = "goes on to the other hosts" if others else "stays live"
                rollout.report(Event.WARNING, what=f"{verdict.what}; the release {goes}")
            return {"outcome": verdict.outcome, "what": verdict.what}
        rollout.control.wait(min(watch.pause, left + _SETTLES))


@dataclass(slots=True)
class _Watch:
    """What is known of the hosts between two looks. `flipped` is when each got the release, by its own clock."""

    rollout: Rollout
    release: ReleaseId
    previous: Previous
    others: Previous
    flipped: dict[HostName, float] = field(default_factory=dict)
    before: dict[HostName, tuple[Cell, ...]] = field(default_factory=dict)
    told: set[HostName] = field(default_factory=set)
    begun: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long the bake is."""
        return self.rollout.options.waves.bake

    @property
    def pause(self) -> float:
        """Seconds between two looks."""
        return max(1.0, self.seconds / _LOOKS)

    @property
    def hosts(self) -> list[HostName]:
        """Hosts on which something was live before."""
        return [name for name, release in self.previous.items() if release]

    def look(self) -> tuple[supervise.comparing.Verdict, float]:
        """Ask all hosts; returns what they say together, and the seconds that are left (0 or less: it is over)."""
        self._learn()
        known = [name for name in self.hosts if name in self.flipped and name in self.before]
        cold = min(_COLD, self.seconds / 10)
        found = self._ask(
            known,
            since={name: self.flipped[name] + cold for name in known},
            until={name: self.flipped[name] + self.seconds for name in known},
            skip_first=True,
        )
        cells = tuple(cell for one in found.values() for cell in one.cells if cell.release == self.release)
        before = tuple(cell for name in found for cell in self.before[name])
        looks = math.ceil(self.seconds / self.pause) + 1
        verdict = supervise.comparing.compare(cells, before, looks=looks)
        age = max((one.now - self.flipped[name] for name, one in found.items()), default=0.0)
        if verdict.slow and (age < self.seconds * _WARMS or not self._lately(found, before, looks).slow):
            verdict = replace(verdict, outcome="fine", what=f"{verdict.what}; it may fade, as caches fill")
        if verdict.outcome == "worse" and self.others:
            verdict = supervise.comparing.excused(verdict, cells, *self._meanwhile(age), looks=looks)
        left = max(
            (self.flipped[name] + self.seconds + _SETTLES - one.now for name, one in found.items()),
            default=self.seconds - (time.monotonic() - self.begun),
        )
        if left <= 0 and len(found) < len(self.hosts) and time.monotonic() - self.begun < self.seconds + _PATIENCE:
            left = self.pause
        return verdict, left

    def _lately(
        self, found: Mapping[HostName, HostTraffic], before: tuple[Cell, ...], looks: int
    ) -> supervise.comparing.Verdict:
        """What the last third of the window says: a new release is slow until its caches have filled."""
        late = self._ask(
            list(found),
            since={name: (one.since + 2 * one.until) / 3 for name, one in found.items()},
            until={name: one.until for name, one in found.items()},
            skip_first=True,
        )
        cells = tuple(cell for one in late.values() for cell in one.cells if cell.release == self.release)
        return supervise.comparing.compare(cells, before, looks=looks)

    def _meanwhile(self, age: float) -> tuple[tuple[Cell, ...], tuple[Cell, ...]]:
        """What the release before answered on the other hosts in the last `age` seconds, and in the hour before."""
        names = [name for name, release in self.others.items() if release]
        beside = self._ask(names, since=f"{math.ceil(age)}s")
        earlier = self._ask(
            list(beside),
            since={name: one.since - _EARLIER for name, one in beside.items()},
            until={name: one.since for name, one in beside.items()},
        )
        both = [name for name in beside if name in earlier]
        now, then = (
            tuple(cell for name in both for cell in one[name].cells if cell.release == self.others[name])
            for one in (beside, earlier)
        )
        return now, then

    def _learn(self) -> None:
        """When each host was flipped, and what it answered before that; a host that has another release is left out."""
        fresh = [name for name in self.hosts if name not in self.flipped]
        asked = self.rollout.pool.each(fresh, lambda helper: helper.status(self.rollout.app, self.rollout.environment))
        for name, status in asked.items():
            if isinstance(status, HostError):
                self._missing(name, status)
            elif status.current == self.release and status.since is not None:
                self.flipped[name] = status.since
        for reach in (self.seconds, max(_EARLIER, self.seconds)):
            wanted = [name for name in self.flipped if name not in self.before]
            found = self._ask(
                wanted,
                since={name: self.flipped[name] - reach for name in wanted},
                until={name: self.flipped[name] for name in wanted},
            )
            for name, one in found.items():
                cells = tuple(cell for cell in one.cells if cell.release == self.previous[name])
                if sum(cell.count for cell in cells) >= _FEW or reach > self.seconds or reach >= _EARLIER:
                    self.before[name] = cells

    def _ask(
        self,
        hosts: list[HostName],
        *,
        since: str | Mapping[HostName, float],
        until: Mapping[HostName, float] | None = None,
        skip_first: bool = False,
    ) -> dict[HostName, HostTraffic]:
        answers = supervise.traffic(
            self.rollout.pool,
            hosts,
            app=self.rollout.app,
            environment=self.rollout.environment,
            since=since,
            until=until,
            step=0,
            skip_first=skip_first,
        )
        for name, one in answers.items():
            if isinstance(one, HostError):
                self._missing(name, one)
        return {name: one for name, one in answers.items() if not isinstance(one, HostError)}

    def _missing(self, name: HostName, error: HostError) -> None:
        if name in self.told:
            return
        self.told.add(name)
        fix = f"run `deployd host bootstrap {name}`" if error.code == "bad-request" else error.fix
        what = f"the traffic of {name} is not watched: {error.what}"
        self.rollout.report(Event.WARNING, host=name, what=what, code=error.code, fix=fix)
