"""The logs of several hosts as one stream: an iterator for each host comes in, lines in the order of time go out.

Hosts are read by a thread each. A line is held back for a moment, so that an earlier one of a slower host goes first.
A host that cannot be read says so in a line of its own; only when none can is it an error.
"""

from __future__ import annotations

import heapq
import queue
import threading
import time
from typing import TYPE_CHECKING

from deployd.errors import DeploydError, HostError
from deployd.hosts.replies import LogLine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
    from deployd.hosts.pool import Pool

_HOLD_BACK = 0.3
_TICK = 0.1
_ROOM = 10_000  # lines that wait; a reader that is slower than its hosts holds them up, and not our memory


class _Ended:
    """A host has no more lines; with `fault` because of an error."""

    def __init__(self, host: HostName, fault: BaseException | None) -> None:
        self.host = host
        self.fault = fault


def logs(
    pool: Pool,
    hosts: Sequence[HostName],
    *,
    app: AppName,
    environment: EnvironmentName,
    release: ReleaseId | None = None,
    lines: int | None = 100,
    since: str | None = None,
    follow: bool = False,
    cancel: threading.Event | None = None,
) -> Iterator[LogLine]:
    """The last `lines` lines over all hosts, and with `follow` those that come, until the iterator is closed."""
    stop = threading.Event()
    found: queue.Queue[LogLine | _Ended] = queue.Queue(_ROOM)

    def put(item: LogLine | _Ended) -> None:
        while not stop.is_set():
            try:
                found.put(item, timeout=_TICK)
                return
            except queue.Full:
                continue

    def read(name: HostName) -> None:
        fault: BaseException | None = None
        try:
            for line in pool.helper(name).logs(
                app, environment, release=release, lines=lines, since=since, follow=follow, cancel=stop
            ):
                put(line)
        except BaseException as error:  # noqa: BLE001 - raised in the reader's thread
            fault = error
        put(_Ended(name, fault))

    threads = [threading.Thread(target=read, args=(name,), daemon=True, name=f"logs-{name}") for name in hosts]
    for thread in threads:
        thread.start()
    try:
        merged = _merged(found, hosts=len(threads), follow=follow, cancel=cancel)
        yield from merged if follow or lines is None else _tail(merged, lines)
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=2)


def _tail(merged: Iterator[LogLine], lines: int) -> list[LogLine]:
    every = list(merged)
    return every[-lines:] if lines else []


def _merged(
    found: queue.Queue[LogLine | _Ended], *, hosts: int, follow: bool, cancel: threading.Event | None
) -> Iterator[LogLine]:
    waiting: list[tuple[float, int, float, LogLine]] = []
    faults: list[HostError] = []
    count, left = 0, hosts
    while left and not (cancel and cancel.is_set()):
        now = time.monotonic()
        while follow and waiting and waiting[0][2] <= now:
            yield heapq.heappop(waiting)[3]
        try:
            item = found.get(timeout=_TICK)
        except queue.Empty:
            continue
        if isinstance(item, LogLine):
            count += 1
            heapq.heappush(waiting, (item.time, count, time.monotonic() + _HOLD_BACK, item))
            continue
        left -= 1
        if isinstance(item.fault, HostError):
            faults.append(item.fault)
            count += 1
            heapq.heappush(waiting, (time.time(), count, 0.0, _notice(item.host, item.fault)))
        elif item.fault is not None:
            raise item.fault
    if faults and len(faults) == hosts:
        raise faults[0]
    while waiting:
        yield heapq.heappop(waiting)[3]


def _notice(host: HostName, fault: DeploydError) -> LogLine:
    return LogLine(
        host=host, time=time.time(), release=None, instance=None, message=f"no logs: {fault.what}", stream="deployd"
    )
