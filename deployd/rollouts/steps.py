"""The steps of rollouts by name, the state in which each is, and the named points between their effects.

Names are stored: a step is never renamed, and the order of a recipe is never changed without `DBOS.patch`.
"""

from __future__ import annotations

import os
import signal
import time
from enum import StrEnum
from typing import Literal

from deployd.errors import DeploydError
from deployd.rollouts.states import State

FAULT_VARIABLE = "DEPLOYD_TEST_FAULT"


class Step(StrEnum):
    """One step: its effect may happen twice, its result is kept once."""

    CHECK = "check"
    SOURCE = "source"
    BUILD = "build"
    PACKAGE = "package"
    VERIFY = "verify"
    CHOOSE = "choose"
    INTENT = "intent"
    SHIP = "ship"
    BEFORE = "before"
    PREPARE = "prepare"
    ARM = "arm"
    PAUSE = "pause"
    FLIP = "flip"
    PROBE = "probe"
    BAKE = "bake"
    RECORD = "record"
    DRAIN = "drain"
    PRUNE = "prune"
    FLIP_BACK = "flip-back"
    DISCARD = "discard"
    CLOSE = "close"

    @property
    def state(self) -> State | None:
        """The rollout's state while this runs; None leaves it (the end is written by `close` itself)."""
        return _STATES.get(self)


_STATES = {
    Step.CHECK: State.BUILDING,
    Step.SOURCE: State.BUILDING,
    Step.BUILD: State.BUILDING,
    Step.PACKAGE: State.BUILDING,
    Step.VERIFY: State.BUILDING,
    Step.CHOOSE: State.PREPARING,
    Step.INTENT: State.PREPARING,
    Step.SHIP: State.PREPARING,
    Step.BEFORE: State.PREPARING,
    Step.PREPARE: State.PREPARING,
    Step.ARM: State.PREPARING,
    Step.PAUSE: State.FLIPPING,
    Step.FLIP: State.FLIPPING,
    Step.PROBE: State.FLIPPING,
    Step.BAKE: State.FLIPPING,
    Step.RECORD: State.FINISHING,
    Step.DRAIN: State.FINISHING,
    Step.PRUNE: State.FINISHING,
    Step.FLIP_BACK: State.TURNING_BACK,
    Step.DISCARD: State.TURNING_BACK,
}

RELEASE = (
    Step.CHECK,
    Step.SOURCE,
    Step.BUILD,
    Step.PACKAGE,
    Step.VERIFY,
    Step.INTENT,
    Step.SHIP,
    Step.PREPARE,
    Step.FLIP,
    Step.PROBE,
    Step.RECORD,
    Step.DRAIN,
    Step.PRUNE,
    Step.CLOSE,
)
"""The steps of a release that goes well, in one wave."""
ROLLBACK = (Step.CHOOSE, Step.PREPARE, Step.FLIP, Step.PROBE, Step.RECORD, Step.DRAIN, Step.CLOSE)
"""The steps of a rollback that goes well."""
TURN_BACK = (Step.FLIP_BACK, Step.DISCARD, Step.CLOSE)
"""The steps with which either is undone."""

Moment = Literal["before", "done", "after"]
MOMENTS: tuple[Moment, ...] = ("before", "done", "after")
"""Before the effect; when the effect is done and its result not kept yet; when it is kept."""


def checkpoints(steps: tuple[Step, ...]) -> tuple[str, ...]:
    """Every named point of a recipe, in order: `before:flip`, `done:flip`, `after:flip`."""
    return tuple(f"{moment}:{step}" for step in steps for moment in MOMENTS)


def checkpoint(moment: Moment, name: str) -> None:
    """A named point between effects. Does nothing, but for the tests.

    `DEPLOYD_TEST_FAULT=after:flip=kill` ends this process there by SIGKILL, `=fail` raises, `=pause:SECONDS` sleeps;
    several are joined by commas. The second wave's flip is `flip#2`.
    """
    wanted = os.environ.get(FAULT_VARIABLE)
    if not wanted:
        return
    for fault in wanted.split(","):
        point, _, action = fault.partition("=")
        if point == f"{moment}:{name}":
            _do(action, point)


def _do(action: str, point: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action.startswith("pause:"):
        time.sleep(float(action.removeprefix("pause:")))
    elif action == "fail":
        raise DeploydError(f"a fault was asked for at {point}", code="test-fault", fix=f"unset {FAULT_VARIABLE}")
