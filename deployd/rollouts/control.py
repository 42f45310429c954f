"""Whether a rollout must stop: by Ctrl-C, by a row that a second terminal wrote, by its time limit.

Recipes look between steps (`look`); stages get `stop`, an Event that is set within moments of the request. Turning back
does not look: DBOS's own cancel would forbid any step afterwards, and so any flip back.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Literal

from deployd.domain.events import Event
from deployd.errors import CancelledError, DeploydError, SupersededError

if TYPE_CHECKING:
    from deployd.domain.events import Report
    from deployd.domain.ids import RolloutId
    from deployd.store import Store

_TICK = 0.1
_ROW_EVERY = 3  # ticks
Reason = Literal["cancelled", "superseded", "timeout"]


class Control:
    """The one place that knows why a rollout stops. `outside` is the caller's Event (Ctrl-C)."""

    def __init__(
        self,
        rollout: RolloutId,
        *,
        store: Store,
        who: str,
        outside: threading.Event,
        report: Report,
        timeout: float | None = None,
    ) -> None:
        self.stop = threading.Event()
        self.by = who
        self.successor: RolloutId | None = None
        self._reason: Reason | None = None
        self._rollout = rollout
        self._store = store
        self._outside = outside
        self._report = report
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout if timeout else None
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def watch(self) -> None:
        """Begin to look by itself, in a thread."""
        threading.Thread(target=self._watch, daemon=True, name="control").start()

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()

    def look(self) -> DeploydError | None:
        """The error of a rollout that must stop, or None."""
        self._check(row=True)
        return self.error()

    def error(self) -> DeploydError | None:
        """As `look`, from what is known already."""
        match self._reason:
            case None:
                return None
            case "superseded":
                return SupersededError(
                    f"rollout {self.successor} took over",
                    fix=f"see how it ended: deployd show {self.successor}",
                    live="what the later rollout makes live",
                )
            case "timeout":
                return DeploydError(
                    f"the rollout took longer than {self._timeout:g} s",
                    code="rollout-timeout",
                    fix="raise --timeout, or see in `deployd rollouts` which stage took so long",
                )
            case "cancelled":
                return CancelledError(f"the rollout was cancelled by {self.by}", fix="release again when you are ready")

    def explain(self, error: DeploydError) -> DeploydError:
        """What a stage's `CancelledError` means: the reason, with the stage's own text as details."""
        reason = self.error()
        if not isinstance(error, CancelledError) or reason is None:
            return error
        return reason.but(details=error.what, live=error.live)

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than until a stop; raises its error."""
        self.stop.wait(seconds)
        error = self.look()
        if error:
            raise error

    def _watch(self) -> None:
        ticks = 0
        while not self._ended.wait(_TICK):
            ticks += 1
            self._check(row=ticks % _ROW_EVERY == 0)
            if self._reason:
                return

    def _check(self, *, row: bool) -> None:
        if self._reason:
            return
        if self._outside.is_set():
            # kept, so that whoever resumes this after a crash turns it back too
            self._store.rollouts.ask_to_stop(self._rollout, who=self.by)
            self._set("cancelled")
        elif self._deadline and time.monotonic() > self._deadline:
            self._set("timeout")
        elif row:
            asked = self._store.rollouts.stop_request(self._rollout)
            if asked.superseded_by:
                self.successor = asked.superseded_by
                self._set("superseded")
            elif asked.cancelled_by:
                self.by = asked.cancelled_by
                self._set("cancelled")

    def _set(self, reason: Reason) -> None:
        with self._lock:
            if self._reason or self._ended.is_set():
                return
            self._reason = reason
            self.stop.set()
        self._report(Event.CANCEL_REQUESTED, reason=reason, by=self.by, successor=self.successor)
