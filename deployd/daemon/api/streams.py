"""Server-sent events: of a rollout from a number on, kept ones first, then live ones; or of work that is asked for.

Both end with `end`: how the rollout ended, or the work's `result` or `error`.
"""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from deployd import logs
from deployd.errors import DeploydError
from deployd.rollouts import values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from deployd.daemon.wiring import Daemon
    from deployd.domain.events import Event, Report
    from deployd.domain.ids import RolloutId
    from deployd.store.events import StoredEvent

    Tell = Callable[[str, Mapping[str, Any]], None]
    Do = Callable[[Tell, threading.Event], Any]

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_STILL_HERE = b": still here\n\n"
_STILL_EVERY = 10.0
_SHARED_EVERY = 0.5  # seconds; another daemon may run it
_LOOK_EVERY = 2.0  # seconds; an ask may end without an event (a newer push took its place)


class _NobodyListensError(Exception):
    """Who asked is gone, and so is the loop."""


def event(name: str, fields: Mapping[str, Any], *, seq: int | None = None) -> bytes:
    """One event on the wire."""
    head = f"id: {seq}\n" if seq is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(fields, separators=(',', ':'), default=str)}\n\n".encode()


def ending(daemon: Daemon, rollout: RolloutId) -> dict[str, Any] | None:
    """How a rollout (or an ask that never became one) ended; None while it has not."""
    ask = daemon.store.queue.find(rollout)  # before its record, which is at its end before the ask is
    record = daemon.store.rollouts.find(rollout)
    if ask is not None and ask.state != "done":
        return None
    if record is not None and record.finished is not None:
        return {"outcome": record.outcome, "result": record.result, "error": record.error}
    if ask is not None:  # its rollout, if there is one, was left unfinished: the next start settles it
        return {"outcome": ask.outcome, "reason": ask.reason, "result": None, "error": ask.error}
    return None


def _kept(daemon: Daemon, rollout: RolloutId, after: int) -> list[StoredEvent]:
    """What was kept before that which the hub still has."""
    found = []
    for kept in daemon.store.events.of(rollout, after=after):
        live, _ = daemon.hub.after(rollout, after)
        if live and live[0].seq <= kept.seq:
            break
        after = kept.seq
        found.append(kept)
    return found


def _elsewhere(daemon: Daemon, rollout: RolloutId, after: int) -> tuple[StoredEvent, ...]:
    """What was kept of a rollout that another process on the same database runs."""
    if not daemon.store.database.shared or any(one.id == rollout for one in daemon.dispatcher.running()):
        return ()
    return daemon.store.events.of(rollout, after=after)


def _of(kept: StoredEvent) -> bytes:
    head = {"rollout": kept.rollout, "seq": kept.seq, "time": kept.time}
    return event(kept.event, {**kept.fields, **head}, seq=kept.seq)


async def follow(daemon: Daemon, rollout: RolloutId, *, after: int) -> AsyncIterator[bytes]:
    """The stream; the last event is `end`."""
    loop, woken, seen = asyncio.get_running_loop(), asyncio.Event(), after

    def wake() -> None:
        loop.call_soon_threadsafe(woken.set)

    daemon.hub.watch(rollout, wake)
    try:
        yield _STILL_HERE
        for kept in await run_in_threadpool(_kept, daemon, rollout, seen):
            seen = kept.seq
            yield _of(kept)
        while True:
            woken.clear()
            live, ended = daemon.hub.after(rollout, seen)
            for told in live:
                seen = told.seq
                yield event(told.event, told.fields, seq=seen)
            if not live:
                last = await run_in_threadpool(ending, daemon, rollout)
                for kept in await run_in_threadpool(_elsewhere, daemon, rollout, seen):
                    seen = kept.seq
                    yield _of(kept)
                if last is not None:
                    yield event("end", last)
                    return
                if ended:
                    yield event("end", {"outcome": None, "result": None, "error": None})
                    return
                try:
                    await asyncio.wait_for(woken.wait(), _SHARED_EVERY if daemon.store.database.shared else _LOOK_EVERY)
                except TimeoutError:
                    yield _STILL_HERE
    finally:
        daemon.hub.unwatch(rollout, wake)


def answer(do: Do, *, audit: dict[str, Any] | None = None) -> StreamingResponse:
    """Do something in a thread and stream what it tells; `audit` (the request's) learns of a failure."""
    return StreamingResponse(telling(do, audit=audit), media_type="text/event-stream", headers=HEADERS)


async def telling(do: Do, *, audit: dict[str, Any] | None = None) -> AsyncIterator[bytes]:
    """What `do(tell, cancel)` tells, then `end`; a thread of its own, because it may say nothing for hours."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[bytes | None](maxsize=1000)
    cancel = threading.Event()

    def put(item: bytes | None) -> None:
        coroutine = queue.put(item)
        try:
            asyncio.run_coroutine_threadsafe(coroutine, loop).result()
        except RuntimeError as error:  # the loop is gone
            coroutine.close()
            raise _NobodyListensError from error

    def work() -> None:
        try:
            put(event("end", _ended(do, lambda name, fields: put(event(name, fields)), cancel, audit)))
            put(None)
        except _NobodyListensError:
            return

    thread = threading.Thread(target=work, daemon=True, name="answer")
    thread.start()
    try:
        while True:
            try:
                item = await asyncio.wait_for(queue.get(), _STILL_EVERY)
            except TimeoutError:
                yield _STILL_HERE
                continue
            if item is None:
                return
            yield item
    finally:
        cancel.set()
        while not queue.empty():
            queue.get_nowait()


def reporting(tell: Tell) -> Report:
    """A `Report` whose events go to `tell`."""

    def report(told: Event, /, **fields: object) -> None:
        tell(str(told), fields)

    return report


def _ended(do: Do, tell: Tell, cancel: threading.Event, audit: dict[str, Any] | None) -> dict[str, Any]:
    try:
        return {"result": do(tell, cancel), "error": None}
    except DeploydError as error:
        fault = error
    except _NobodyListensError:
        raise
    except Exception as error:  # noqa: BLE001 - the answer has begun: it must have an end
        logs.logger("api").exception("request_failed")
        fault = DeploydError(
            f"deployd itself failed: {type(error).__name__}", code="internal", fix="see the daemon's log of that moment"
        )
    if audit is not None:
        audit["outcome"] = f"failed ({fault.code})"
    return {"result": None, "error": values.error_to_json(fault)}
