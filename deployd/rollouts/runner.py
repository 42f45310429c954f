"""Runs the steps of one rollout: a step's name and function come in, its JSON result goes out, kept once.

A recipe gets a `Runner` and does not know who keeps the results: DBOS (`engine.py`), or nobody (`Runner` itself: for
tests, and for a rollback while another process owns the state folder).
"""

from __future__ import annotations

import json
import time
import traceback
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from deployd.domain.events import Event
from deployd.errors import DeploydError, SupersededError, machine_refused
from deployd.rollouts import values
from deployd.rollouts.states import TERMINAL, State, may_follow
from deployd.rollouts.steps import Step, checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployd.rollouts.rollout import Rollout

_QUIET = frozenset({Step.CLOSE, Step.RECORD, Step.INTENT})  # too small to be told as stages

ENDED = "rollout-ended"


class Runner:
    """Runs steps one after the other, in memory."""

    def __init__(self, rollout: Rollout) -> None:
        self._rollout = rollout
        self._seen: Counter[Step] = Counter()

    def step(self, step: Step, do: Callable[..., Any], /, *args: object) -> Any:
        """Do a step unless the rollout must stop. Raises the DeploydError with which it ended."""
        return self._run(step, do, args, looks=True)

    def sure(self, step: Step, do: Callable[..., Any], /, *args: object) -> Any:
        """Do a step even when the rollout must stop: turning back, and what follows the point of no return."""
        return self._run(step, do, args, looks=False)

    def keep(self, name: str, body: Callable[[], values.Json]) -> values.Json:
        """Run `body` and keep what it returns under `name`."""
        del name
        return body()

    def is_new(self, name: str) -> bool:
        """Whether this rollout knows the change of its recipe that is called `name`: one that began before it does not.

        A step that was put between others stands below this, or what an older version left could not be resumed.
        """
        del name
        return True

    def _run(self, step: Step, do: Callable[..., Any], args: tuple[object, ...], *, looks: bool) -> Any:
        self._seen[step] += 1
        name = str(step) if self._seen[step] == 1 else f"{step}#{self._seen[step]}"

        def body() -> values.Json:
            # The look is part of the step, so that a replay after a crash sees what the first run saw.
            try:
                checkpoint("before", name)
                error = self._rollout.control.look() if looks else None
                outcome = {"error": values.error_to_json(error)} if error else self._effect(step, do, args)
                checkpoint("done", name)
            except DeploydError as fault:
                outcome = {"error": values.error_to_json(fault)}
            cleaned: values.Json = json.loads(json.dumps(self._rollout.recorder.clean(outcome)))
            return cleaned

        outcome = self.keep(name, body)
        checkpoint("after", name)
        if "error" in outcome:
            raise values.error_from_json(outcome["error"])
        return outcome["value"]

    def _effect(self, step: Step, do: Callable[..., Any], args: tuple[object, ...]) -> values.Json:
        rollout, started = self._rollout, time.monotonic()
        if step.state:
            self._enter(step.state)
        if step not in _QUIET:
            rollout.report(Event.STAGE_STARTED, stage=str(step))
        try:
            with self._slot(step):
                outcome = {"value": do(*args)}
        except DeploydError as error:
            outcome = {"error": values.error_to_json(rollout.control.explain(error))}
        except Exception as error:  # noqa: BLE001 - a bug in a stage must turn back too
            refused = machine_refused(error) if isinstance(error, OSError) else None
            outcome = {"error": values.error_to_json(refused or _internal(step, error))}
        if step not in _QUIET:
            rollout.report(
                Event.STAGE_FINISHED,
                stage=str(step),
                seconds=round(time.monotonic() - started, 3),
                ok="value" in outcome,
            )
        rollout.recorder.flush()
        return outcome

    def _slot(self, step: Step) -> AbstractContextManager[None]:
        slots = self._rollout.builds if step is Step.BUILD else None
        return slots.hold(self._rollout.stop) if slots else nullcontext()

    def _enter(self, state: State) -> None:
        record = self._rollout.store.rollouts.get(self._rollout.id)
        found = State(record.state)
        if self._rollout.owner is not None and record.owner != self._rollout.owner:
            raise SupersededError(
                f"another process has taken rollout {self._rollout.id} over: it saw no sign of life of this one",
                code=ENDED,
                live="what the process that took over makes live",
                fix="see `deployd rollouts`; what is live is in `deployd status`",
            )
        if found in TERMINAL:
            raise SupersededError(
                f"rollout {self._rollout.id} was ended by another process ({found})",
                code=ENDED,
                live="what the rollout that took over made live",
                fix="see `deployd rollouts`; what is live is in `deployd status`",
            )
        if not may_follow(found, state) and self._rollout.resumed:
            return  # a rollback that was not checkpointed begins anew: it does again what it did, and does not go back
        if not may_follow(found, state):
            raise DeploydError(
                f"a rollout cannot go from {found} to {state}", code="internal", fix="this is a bug: report it"
            )
        if found is not state:
            # told before the first host is flipped: from here on, turning back means asking the hosts
            self._rollout.store.rollouts.set_state(self._rollout.id, state, touched=state is State.FLIPPING)


def _internal(step: Step, error: Exception) -> DeploydError:
    return DeploydError(
        f"deployd itself failed in {step}: {type(error).__name__}: {error}",
        code="internal",
        details="".join(traceback.format_exception(error)[-3:]),
        fix="this is a bug: report it with these lines; what was flipped is flipped back",
    )
