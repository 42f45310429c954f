"""How a command runs what takes time: the work in a thread, the view on the screen, signals in the main thread.

Ctrl-C asks once on a terminal and cancels cleanly elsewhere; the second one ends the process at once (what it leaves
is for `deployd resume`). SIGTERM cancels cleanly, and so does SIGHUP: a terminal that is gone.
"""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from deployd.cli.live import view as choose_view
from deployd.errors import CancelledError
from deployd.rollouts.wishes import RolloutResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from deployd.cli.context import Cli
    from deployd.cli.live import View
    from deployd.domain.events import Event, Report

T = TypeVar("T")
_TICK = 0.1
_SHOW_CURSOR = b"\x1b[?25h"


class TerminatedError(CancelledError):
    """Cancelled by SIGTERM."""

    exit_code = 143
    default_code = "terminated"


class _Signals:
    """Counts signals; the main thread looks at the counts between its waits."""

    def __init__(self, cancel: threading.Event) -> None:
        self.interrupts = 0
        self.terminated = False
        self.asking = False
        self._cancel = cancel

    def interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.interrupts += 1
        if self.asking or self._cancel.is_set():
            _leave_now(130)

    def terminate(self, _number: int, _frame: FrameType | None) -> None:
        if self._cancel.is_set():
            _leave_now(143)
        self.terminated = True
        self._cancel.set()


def run(
    cli: Cli,
    work: Callable[[Report, threading.Event], T],
    *,
    question: str,
    moving: bool = True,
    aside: bool = False,
    only_tells: bool = False,
) -> T:
    """Run `work(report, cancel)` to its end under the view; raises what it raises.

    Work that `only_tells` is cancelled when nobody reads it any more; other work goes on to its end.
    """
    cancel = threading.Event()
    signals = _Signals(cancel)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with choose_view(cli.out, moving=moving, aside=aside) as shown:
        told = _Safe(shown, cli, on_lost=cancel.set if only_tells else None)
        task: _Task[T] = _Task(lambda: work(told, cancel))
        signal.signal(signal.SIGINT, signals.interrupt)
        signal.signal(signal.SIGTERM, signals.terminate)
        if before[signal.SIGHUP] is not signal.SIG_IGN:  # nohup
            signal.signal(signal.SIGHUP, signals.terminate)
        try:
            task.start()
            seen = 0
            while not task.finished.wait(_TICK):
                if signals.interrupts > seen and not cancel.is_set():
                    _ask(cli, shown, signals, cancel, question)
                    seen = signals.interrupts
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        result = _outcome(task, terminated=signals.terminated)
        for ended in result if isinstance(result, list) else [result]:
            if isinstance(ended, RolloutResult) and not told.lost:
                shown.ended(ended.to_json())
        return result


class _Safe:
    """A `Report` that never fails: what is done on hosts must not end in the middle because nobody reads (`| head -1`).

    `lost` says that the view could not draw any more; stdout leads nowhere from then on, and the exit code tells.
    """

    def __init__(self, shown: View, cli: Cli, *, on_lost: Callable[[], None] | None) -> None:
        self.lost = False
        self._on_lost = on_lost
        self._shown = shown
        self._cli = cli
        self._lock = threading.Lock()

    def __call__(self, event: Event, /, **fields: object) -> None:
        if self.lost:
            return
        try:
            self._shown(event, **fields)
        except (OSError, ValueError):
            with self._lock:
                if not self.lost:
                    self.lost = True
                    self._cli.out.mute()
                    if self._on_lost:
                        self._on_lost()


@dataclass(slots=True)
class _Task(Generic[T]):
    """The work and how it ended. Its thread is a daemon: a finished command does not wait for one that hangs."""

    work: Callable[[], T]
    finished: threading.Event = field(default_factory=threading.Event)
    result: T | None = None
    error: BaseException | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name="rollout", daemon=True).start()

    def _run(self) -> None:
        try:
            self.result = self.work()
        except BaseException as error:  # noqa: BLE001 - it is raised again in the main thread
            self.error = error
        finally:
            self.finished.set()


def _outcome(task: _Task[T], *, terminated: bool) -> T:
    if task.error is None:
        return cast("T", task.result)
    if terminated and isinstance(task.error, CancelledError):
        raise TerminatedError(**task.error.fields() | {"code": "terminated"}) from task.error
    raise task.error


def _ask(cli: Cli, shown: View, signals: _Signals, cancel: threading.Event, question: str) -> None:
    if not cli.out.can_ask or cli.options.yes:
        cancel.set()
        return
    shown.pause()
    signals.asking = True
    answer = cli.out.ask(f"\n{question} [y/N] (Ctrl-C again leaves at once) ")
    signals.asking = False
    if answer.strip().lower() in {"y", "yes"}:
        cancel.set()
        cli.out.note("cancelling: what was started is turned back")
    shown.resume()


def _leave_now(code: int) -> None:
    # Only os.write here: the main thread may stand in the middle of a print.
    if os.isatty(1):
        os.write(1, _SHOW_CURSOR)
    os.write(2, b"\nleft at once; `deployd resume` finishes or turns back what was going on\n")
    os._exit(code)
