"""The states of a rollout: what each means, which may follow which, and the sets that decide what is allowed.

`docs/explanation/rollouts.md` has the diagram that `mermaid()` draws from this table.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a rollout is."""

    WAITING = "waiting"
    """It was asked for; nothing was done yet."""
    BUILDING = "building"
    """Source, build and package, on this machine; no host was touched."""
    PREPARING = "preparing"
    """The release is shipped, started and probed on each host; what is live is as before."""
    FLIPPING = "flipping"
    """Hosts are flipped, in waves; some may have the new release and some the old."""
    FINISHING = "finishing"
    """It is live everywhere and good; the old is drained, and what is kept no longer is removed."""
    TURNING_BACK = "turning_back"
    """It failed or was told to stop: hosts that were flipped are flipped back."""
    LIVE = "live"
    """The end: live on all its hosts."""
    PREPARED = "prepared"
    """The end, as asked: started at its own address on all hosts, and what is live is as before."""
    FAILED = "failed"
    """The end: what was live before is live everywhere."""
    CANCELLED = "cancelled"
    """The end: told to stop; what was live before is live everywhere."""
    SUPERSEDED = "superseded"
    """The end: a later rollout took over, and decides what is live."""
    PARTLY_LIVE = "partly_live"
    """The end: some hosts have the new release and some the old; a person must look."""


_STOPPED = frozenset({State.FAILED, State.CANCELLED, State.SUPERSEDED})

TRANSITIONS: dict[State, frozenset[State]] = {
    State.WAITING: frozenset({State.BUILDING, State.PREPARING, State.FLIPPING, State.TURNING_BACK}) | _STOPPED,
    State.BUILDING: frozenset({State.PREPARING, State.TURNING_BACK}) | _STOPPED,
    State.PREPARING: frozenset({State.FLIPPING, State.PREPARED, State.FINISHING, State.TURNING_BACK}) | _STOPPED,
    State.FLIPPING: frozenset({State.FINISHING, State.TURNING_BACK, State.SUPERSEDED}),
    State.FINISHING: frozenset({State.LIVE, State.SUPERSEDED}),
    State.TURNING_BACK: _STOPPED | {State.PARTLY_LIVE},
    State.LIVE: frozenset(),
    State.PREPARED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.SUPERSEDED: frozenset(),
    State.PARTLY_LIVE: frozenset(),
}

TERMINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)
CHANGED_NOTHING = frozenset({State.WAITING, State.BUILDING, State.PREPARING, State.PREPARED}) | _STOPPED
"""What is live is what was live before, or (superseded) what a later rollout made live."""
CANCELLABLE = frozenset({State.WAITING, State.BUILDING, State.PREPARING, State.FLIPPING})
RESUMABLE = frozenset(State) - TERMINAL


def may_follow(old: State, new: State) -> bool:
    """Whether a rollout may go from `old` to `new`; staying is always allowed, because a step may run twice."""
    return old is new or new in TRANSITIONS[old]


def mermaid() -> str:
    """The transition table as a Mermaid diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.WAITING}"]
    for old, following in TRANSITIONS.items():
        lines += [f"    {old} --> {new}" for new in State if new in following]
    return "\n".join([*lines, *(f"    {state} --> [*]" for state in State if state in TERMINAL)])
