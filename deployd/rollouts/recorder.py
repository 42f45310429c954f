"""The `Report` of one rollout: numbers each event, hands it on, keeps it in the store; known secrets are blotted out.

Events are kept in batches (at the end of each step): a write to disk for each would cost more than the flip.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from deployd.domain.events import Event
from deployd.store.events import StoredEvent
from deployd.store.moments import now

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployd.domain.events import Report
    from deployd.domain.ids import RolloutId
    from deployd.domain.secret import Secret
    from deployd.store import Store

_NOT_KEPT = frozenset({Event.BUILD_OUTPUT, Event.COMMAND_OUTPUT, Event.BYTES_SENT, Event.LOG_LINE})
_SHORTEST = 6  # a shorter secret is in too many innocent words
_BLOT = "***"
_APART = 100_000


class Recorder:
    """Takes events from all threads of a rollout."""

    def __init__(self, rollout: RolloutId, *, store: Store, report: Report, resumed: bool = False) -> None:
        self._rollout = rollout
        self._store = store
        self._report = report
        self._lock = threading.Lock()
        last = store.events.last(rollout)
        # not every event is kept: one that resumes goes on above all that may have been told
        self._seq = (last // _APART + 1) * _APART if resumed and last else last
        self._waiting: list[StoredEvent] = []
        self._secrets: list[str] = []

    def hide(self, secrets: Iterable[Secret]) -> None:
        """Blot these values out of every event and error from now on, each line of them too."""
        texts = {line for secret in secrets for line in (secret.reveal(), *secret.reveal().splitlines())}
        with self._lock:
            self._secrets = sorted({*self._secrets, *(text for text in texts if len(text) >= _SHORTEST)}, key=len)[::-1]

    def clean(self, value: Any) -> Any:
        """A JSON value without the known secrets."""
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, _BLOT)
            return value
        if isinstance(value, dict):
            return {key: self.clean(one) for key, one in value.items()}
        return [self.clean(one) for one in value] if isinstance(value, list | tuple) else value

    def __call__(self, event: Event, /, **fields: object) -> None:
        """Tell one event."""
        cleaned: dict[str, Any] = self.clean({name: _plain(value) for name, value in fields.items()})
        with self._lock:
            self._seq += 1
            seq, time = self._seq, now()
            if event not in _NOT_KEPT:
                self._waiting.append(
                    StoredEvent(rollout=self._rollout, seq=seq, time=time, event=str(event), fields=cleaned)
                )
        # `event` and `rollout` are the head's: a field of that name cannot take their place
        self._report(event, **{**cleaned, "rollout": str(self._rollout), "seq": seq, "time": time})

    def flush(self) -> None:
        """Keep what was told since the last time."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        self._store.events.add(waiting)


def _plain(value: object) -> object:
    """Ids and enums as plain text, so that they are JSON everywhere."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return value if isinstance(value, int | float | bool) or value is None else str(value)
