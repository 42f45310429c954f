"""What a rollout did, told from its kept events: events come in, steps with their hosts and durations go out."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deployd.domain.events import Event
from deployd.rollouts.states import State
from deployd.store import moments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.domain.rollout import RolloutRecord
    from deployd.store import Store
    from deployd.store.events import StoredEvent

_BORING = frozenset({"host", "rollout", "seq", "time", "stage"})


@dataclass(slots=True, kw_only=True)
class Happening:
    """One event of a step: when, on which host (None is this machine), what, and its fields."""

    time: str
    event: str
    host: str | None
    fields: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class StepStory:
    """One step: `seconds` is None while it runs, or when its process died in it; `ok` then too."""

    name: str
    began: str
    seconds: float | None = None
    ok: bool | None = None
    happenings: list[Happening] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As in `show --json`."""
        return asdict(self)

    @property
    def hosts(self) -> list[str]:
        """The hosts that it told of, in the order in which they were told."""
        return list(dict.fromkeys(one.host for one in self.happenings if one.host))


def story(events: Sequence[StoredEvent]) -> tuple[StepStory, ...]:
    """The steps in their order; what was told outside of any step is in one named `rollout`."""
    steps: list[StepStory] = []
    running: StepStory | None = None
    for event in events:
        if event.event == "stage_started":
            running = StepStory(name=str(event.fields.get("stage")), began=event.time)
            steps.append(running)
        elif event.event == "stage_finished":
            if running is not None:
                running.seconds, running.ok = event.fields.get("seconds"), event.fields.get("ok")
            running = None
        else:
            if running is None and (not steps or steps[-1].name != "rollout"):
                steps.append(StepStory(name="rollout", began=event.time))
            fields = {name: value for name, value in event.fields.items() if name not in _BORING}
            host = event.fields.get("host")
            (running or steps[-1]).happenings.append(
                Happening(time=event.time, event=event.event, host=str(host) if host else None, fields=fields)
            )
    return tuple(steps)


def as_seen(store: Store, record: RolloutRecord) -> RolloutRecord:
    """The record as people are told of it: one that watches what it flipped to is `baking`."""
    return record if bake_of(store, record) is None else replace(record, state="baking")


def bake_of(store: Store, record: RolloutRecord) -> dict[str, Any] | None:
    """How its bake goes: the hosts that it watches, the seconds that are left, what it saw; None while it bakes not."""
    if record.state != State.FLIPPING:
        return None
    baking: dict[str, Any] | None = None
    for one in store.events.of(record.id):
        if one.event in {Event.STAGE_STARTED, Event.STAGE_FINISHED}:
            baking = {} if one.event == Event.STAGE_STARTED and one.fields.get("stage") == "bake" else None
        elif one.event == Event.BAKE_LOOKED:
            gone = time.time() - moments.parse(one.time).timestamp()
            left = max(0.0, float(one.fields.get("seconds_left") or 0.0) - max(0.0, gone))
            baking = {
                "seconds_left": round(left, 1),
                "watched": one.fields.get("hosts"),
                "waiting": one.fields.get("waits") or 0,
                "what": one.fields.get("what"),
            }
    return baking
