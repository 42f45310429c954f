"""Server-sent events: a rollout's events from a number on, kept ones first, then live ones, and how it ended."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from deployd.daemon.wiring import Daemon
    from deployd.domain.ids import RolloutId

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_STILL_HERE = b": still here\n\n"
_LOOK_EVERY = 2.0  # seconds; an ask may end without an event (a newer push took its place)


def event(name: str, fields: Mapping[str, Any], *, seq: int | None = None) -> bytes:
    """One event on the wire."""
    head = f"id: {seq}\n" if seq is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(fields, separators=(',', ':'), default=str)}\n\n".encode()


def ending(daemon: Daemon, rollout: RolloutId) -> dict[str, Any] | None:
    """How a rollout (or an ask that never became one) ended; None while it has not."""
    record, ask = daemon.store.rollouts.find(rollout), daemon.store.queue.find(rollout)
    if ask is not None and ask.state != "done":
        return None
    if record is not None and record.finished is not None:
        return {"outcome": record.outcome, "result": record.result, "error": record.error}
    if ask is not None:  # its rollout, if there is one, was left unfinished: the next start settles it
        return {"outcome": ask.outcome, "reason": ask.reason, "result": None, "error": ask.error}
    return None


async def follow(daemon: Daemon, rollout: RolloutId, *, after: int) -> AsyncIterator[bytes]:
    """The stream; the last event is `end`."""
    loop, woken, seen = asyncio.get_running_loop(), asyncio.Event(), after

    def wake() -> None:
        loop.call_soon_threadsafe(woken.set)

    daemon.hub.watch(rollout, wake)
    try:
        yield _STILL_HERE
        for kept in await run_in_threadpool(daemon.store.events.of, rollout, after=seen):
            live, _ = daemon.hub.after(rollout, seen)
            if live and live[0].seq <= kept.seq:
                break
            seen = kept.seq
            head = {"rollout": rollout, "seq": kept.seq, "time": kept.time}
            yield event(kept.event, {**kept.fields, **head}, seq=seen)
        while True:
            woken.clear()
            live, ended = daemon.hub.after(rollout, seen)
            for told in live:
                seen = told.seq
                yield event(told.event, told.fields, seq=seen)
            if not live:
                last = await run_in_threadpool(ending, daemon, rollout)
                if last is not None:
                    yield event("end", last)
                    return
                if ended:
                    yield event("end", {"outcome": None, "result": None, "error": None})
                    return
                try:
                    await asyncio.wait_for(woken.wait(), _LOOK_EVERY)
                except TimeoutError:
                    yield _STILL_HERE
    finally:
        daemon.hub.unwatch(rollout, wake)
