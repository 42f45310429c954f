"""The view of a running rollout: a `Report` that draws. Live on a terminal, lines in a pipe, events with `--json`."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deployd.cli.progress import NOTES, say
from deployd.cli.render import clean
from deployd.domain.events import Event
from deployd.domain.quantity import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self, TextIO

    from rich.console import RenderableType
    from rich.live import Live

    from deployd.cli.render import Screen

_MARKS = {"done": ("✓", "green"), "going": ("→", "cyan"), "warn": ("!", "yellow"), "plain": ("·", "dim")}
_TAIL = 6
_ABOUT_WIDTH = 9


class View:
    """A `Report` with a beginning and an end; `pause` and `resume` make room for a question."""

    def __enter__(self) -> Self:
        """Begin to draw."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""

    def __call__(self, event: Event, /, **fields: object) -> None:
        """Draw one event; this view draws nothing."""

    def ended(self, result: Mapping[str, Any]) -> None:
        """A rollout ended so; for whoever was not told by an event."""

    def pause(self) -> None:
        """Stop drawing."""

    def resume(self) -> None:
        """Draw again."""


class JsonView(View):
    """One event a line: `{"v": 1, "seq": N, "event", "time", "rollout", ...}`."""

    def __init__(self, out: Screen) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._seq = 0
        self._rollout: object = None
        self._ended: set[object] = set()

    def __call__(self, event: Event, /, **fields: object) -> None:
        """Print one event; a number, a time and the rollout are added where the event has none."""
        with self._lock:
            given_seq = fields.get("seq")
            self._seq = given_seq if isinstance(given_seq, int) else self._seq + 1
            self._rollout = fields.get("rollout") or self._rollout
            if event is Event.ROLLOUT_FINISHED:
                self._ended.add(self._rollout)
            head = {
                "v": 1,
                "seq": self._seq,
                "event": str(event),
                "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "rollout": self._rollout,
            }
            given = {name: value for name, value in fields.items() if value is not None or name not in head}
            self._out.event(head | given | {"event": str(event)})

    def ended(self, result: Mapping[str, Any]) -> None:
        """The last event of each rollout is `rollout_finished`."""
        if result["rollout"] not in self._ended:
            self(Event.ROLLOUT_FINISHED, **result)


class PlainView(View):
    """One short line for each event that says something to people; `write` takes the lines."""

    def __init__(self, out: Screen, *, write: Callable[[str], None] | None = None) -> None:
        self._out = out
        self._write = write or out.line
        self._lock = threading.Lock()
        self._notes: dict[str, list[str]] = {}

    def __call__(self, event: Event, /, **fields: object) -> None:
        """Print one event; what is learned of a running stage waits for the line of its end."""
        stage = str(fields.get("stage") or "")
        if event is Event.STAGE_STARTED:
            self._notes[stage] = []
        sentence = say(event, fields)
        if sentence is None or not sentence.text:
            return
        if event in NOTES and sentence.about in self._notes:
            notes = self._notes[sentence.about]
            notes[:] = [*(() if event is Event.BAKE_LOOKED else notes), sentence.text]  # a look stands for those before
            return
        if event is Event.STAGE_FINISHED:
            sentence = replace(sentence, text="  ".join([sentence.text.ljust(7), *self._notes.pop(stage, [])]).rstrip())
        quiet = self._out.quiet and sentence.tone != "warn"
        if quiet or (sentence.detail and not self._out.verbose and sentence.tone != "warn"):
            return
        mark, style = _MARKS[sentence.tone]
        about = self._out.paint(sentence.about.ljust(_ABOUT_WIDTH), "bold")
        with self._lock:
            self._write(f"{self._out.paint(mark, style)} {about} {sentence.text}")


@dataclass(slots=True)
class _Stage:
    name: str
    begun: float
    seconds: float | None = None
    note: str = ""
    failed: bool = False


@dataclass(slots=True)
class _HostRow:
    name: str
    text: str = "waiting"
    tone: str = "plain"
    sent: int = 0
    wanted: int = 0
    sending: bool = False


class LiveView(View):
    """Stages above, hosts below, the build's last lines while it runs; drawn by rich, in place."""

    def __init__(self, out: Screen, *, stream: TextIO | None = None) -> None:
        self._stream = stream or out.stdout
        self._lock = threading.RLock()
        self._title = ""
        self._stages: dict[str, _Stage] = {}
        self._hosts: dict[str, _HostRow] = {}
        self._warnings: list[str] = []
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._begun = time.monotonic()
        self._live: Live | None = None
        self._ended = False

    def __enter__(self) -> Self:
        """Begin to draw."""
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self._stream, highlight=False, markup=False)
        self._live = Live(
            get_renderable=self._draw,
            console=console,
            refresh_per_second=8,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last picture on the screen."""
        with self._lock:
            self._ended = True
            for stage in self._stages.values():
                if stage.seconds is None:
                    stage.seconds = time.monotonic() - stage.begun
                    stage.failed = error is not None
        self.pause()

    def pause(self) -> None:
        """Stop drawing; what was drawn stays."""
        if self._live:
            with suppress(OSError):  # the terminal may be gone
                self._live.stop()

    def resume(self) -> None:
        """Draw again, below what was said meanwhile."""
        if self._live and not self._ended:
            self._live.start()

    def __call__(self, event: Event, /, **fields: object) -> None:
        """Take one event into the picture."""
        with self._lock:
            self._take(event, fields)

    def _take(self, event: Event, fields: dict[str, Any]) -> None:
        if event in {Event.STAGE_STARTED, Event.STAGE_FINISHED}:
            self._stage(str(fields.get("stage") or ""), fields, ended=event is Event.STAGE_FINISHED)
            return
        if event in {Event.BUILD_OUTPUT, Event.COMMAND_OUTPUT}:
            self._tail.append(clean(str(fields.get("line", ""))))
            return
        if event is Event.ROLLOUT_STARTED:
            for host in fields.get("hosts") or ():
                label = str(host.get("name") if isinstance(host, dict) else host)
                self._hosts.setdefault(label, _HostRow(name=label))
        sentence = say(event, fields)
        if sentence is None:
            return
        host = fields.get("host")
        if host:
            self._host(str(host), event, fields, sentence.text, sentence.tone)
        elif sentence.tone == "warn":
            self._warnings.append(sentence.text)
        elif sentence.about in self._stages:
            self._stages[sentence.about].note = sentence.text
        elif event is Event.ROLLOUT_STARTED:
            self._title = sentence.text

    def _stage(self, name: str, fields: dict[str, Any], *, ended: bool) -> None:
        if not name:
            return
        if not ended:
            self._stages[name] = _Stage(name=name, begun=time.monotonic())
            self._tail.clear()
            return
        stage = self._stages.setdefault(name, _Stage(name=name, begun=time.monotonic()))
        seconds = fields.get("seconds")
        stage.seconds = float(seconds) if isinstance(seconds, int | float) else time.monotonic() - stage.begun
        stage.failed = fields.get("ok") is False

    def _host(self, name: str, event: Event, fields: dict[str, Any], text: str, tone: str) -> None:
        row = self._hosts.setdefault(name, _HostRow(name=name))
        if event is Event.BYTES_SENT:
            row.sent, row.wanted = int(fields.get("sent") or 0), int(fields.get("total") or 0)
            row.text, row.sending = f"{format_size(row.sent)} of {format_size(row.wanted)} sent", True
        elif tone == "warn" and event is Event.WARNING:
            self._warnings.append(f"{name}: {text}")
        else:
            row.text, row.tone, row.sending = text, tone, False

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        with self._lock:
            elapsed = format_duration(time.monotonic() - self._begun)
            parts: list[RenderableType] = [Text.assemble((self._title or "starting", "bold"), (f"  {elapsed}", "dim"))]
            stages = Table.grid(padding=(0, 2))
            for stage in self._stages.values():
                stages.add_row(*self._stage_cells(stage))
            hosts = Table.grid(padding=(0, 2))
            for row in self._hosts.values():
                hosts.add_row(*self._host_cells(row))
            if self._stages:
                parts.append(Padding(stages, (0, 0, 0, 2)))
            if any(map(self._tells, ("build", "before"))):
                parts += [Text(f"    │ {line}", style="dim", no_wrap=True, overflow="ellipsis") for line in self._tail]
            if self._hosts:
                parts.append(Padding(hosts, (0, 0, 0, 2)))
            parts += [Text(f"! {warning}", style="yellow") for warning in self._warnings]
            return Group(*parts)

    def _tells(self, name: str) -> bool:
        """Whether what a stage's own program writes is shown."""
        stage = self._stages.get(name)
        return stage is not None and (stage.seconds is None or stage.failed)

    @staticmethod
    def _stage_cells(stage: _Stage) -> tuple[RenderableType, ...]:
        from rich.spinner import Spinner
        from rich.text import Text

        if stage.seconds is None:
            mark: RenderableType = Spinner("dots", style="cyan")
        else:
            mark = Text("✗", style="bold red") if stage.failed else Text("✓", style="green")
        seconds = stage.seconds if stage.seconds is not None else time.monotonic() - stage.begun
        return (
            mark,
            Text(stage.name.ljust(_ABOUT_WIDTH), style="bold"),
            Text(format_duration(seconds), style="dim", justify="right"),
            Text(stage.note, no_wrap=True, overflow="ellipsis"),
        )

    @staticmethod
    def _host_cells(row: _HostRow) -> tuple[RenderableType, ...]:
        from rich.columns import Columns
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        mark, style = _MARKS[row.tone]
        text: RenderableType = Text(row.text, no_wrap=True, overflow="ellipsis")
        if row.sending and row.sent < row.wanted:
            bar = ProgressBar(total=row.wanted, completed=row.sent, width=24)
            text = Columns([bar, Text(row.text, style="dim", no_wrap=True)])
        return Text(mark, style=style), Text(row.name.ljust(_ABOUT_WIDTH), style="cyan"), text


def view(out: Screen, *, moving: bool = True, aside: bool = False) -> View:
    """The view that fits the screen: JSON events, a live picture (when `moving` and on a terminal), or lines.

    With `aside` the result is what stdout is for: the view keeps to stderr, and to itself with `--json`.
    """
    if out.json:
        return View() if aside else JsonView(out)
    stream = out.stderr if aside else out.stdout
    if moving and stream.isatty() and not out.quiet and not out.verbose:
        return LiveView(out, stream=stream)
    return PlainView(out, write=out.note if aside else out.line)
