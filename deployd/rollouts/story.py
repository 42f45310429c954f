"""What a rollout did, told from its kept events: events come in, steps with their hosts and durations go out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

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
