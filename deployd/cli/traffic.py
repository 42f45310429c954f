"""`deployd traffic`: what visitors ask for, and how they are answered, by release, host and route."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployd.cli.release import seconds_of
from deployd.cli.render import clean
from deployd.cli.verbs import verb
from deployd.domain import traffic as counting
from deployd.domain.quantity import format_duration, format_size
from deployd.domain.traffic import BYS, By, HostTraffic
from deployd.errors import HostError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployd.cli.context import Cli
    from deployd.domain.ids import HostName
    from deployd.domain.traffic import Cell, Sum, VitalCell, VitalSum
    from deployd.traffic import Reader

UNREACHABLE = 6
LIVE_WINDOW = 60.0
REFRESH = 2.0
LINE_EVERY = 10.0
"""Seconds between two lines in a pipe."""
_MOST_ROUTES = 15
_NUMBERS = ("REQUESTS", "REQ/S", "4XX", "5XX", "P50", "P95", "P99", "SENT")
_Answers = dict["HostName", "HostTraffic | HostError"]


@verb(example="deployd traffic --since 1h --by route")
def traffic(
    cli: Cli,
    *,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="The last minute, again and again, until Ctrl-C.")
    ] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="T", help="How far back. [default: 15m; with -f 1m]")
    ] = None,
    release: Annotated[str | None, typer.Option("--release", metavar="ID", help="Of one release only.")] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="KIND", help="One table, with all its rows: release, route or host."),
    ] = None,
    vitals: Annotated[
        bool, typer.Option("--vitals", help="Core Web Vitals, as the visitors' browsers measured them.")
    ] = False,
) -> int:
    """Show requests, errors and times of the app's visitors, counted on its hosts.

    Percentiles are of the time from the request to the last byte sent. Hashed files (/_next/static) are not counted.
    """
    app, environment = cli.where
    only = cli.release_id(release) if release else None
    window = seconds_of(since, flag="--since") if since else LIVE_WINDOW if follow else 900.0
    view = _View(cli, only=str(only) if only else None, by=_by(by), vitals=vitals)
    with cli.client.traffic.reader(app, environment, hosts=cli.hosts()) as read:
        if follow:
            _follow(view, read, window)
        answers = read(window)
    return view.show(answers)


def _by(text: str | None) -> By | None:
    found = next((one for one in BYS if one == text), None)
    if text and not found:
        raise UsageError(f"--by {text!r} is not known", code="usage", fix=f"--by: one of {', '.join(BYS)}")
    return found


def _follow(view: _View, read: Reader, window: float) -> None:
    """Until Ctrl-C, which the caller's handler makes of it. A terminal gets a screen of its own, as from `top`."""
    out = view.cli.out
    live = out.is_terminal and not out.json
    number = 0
    try:
        while True:
            answers = read(window if live else LINE_EVERY)
            number += 1
            if live:
                head = out.paint(f"the last {format_duration(window)}, until Ctrl-C", "dim")
                out.line(("\x1b[?1049h" if number == 1 else "") + "\x1b[H\x1b[2J" + head)
                view.show(answers)
            elif out.json:
                out.event({"v": 1, "seq": number, "event": "traffic", "time": _now(), **view.document(answers)})
            else:
                out.line(view.short(answers))
            time.sleep(REFRESH if live else LINE_EVERY)
    finally:
        if live and number:
            out.line("\x1b[?1049l")


class _View:
    """Draws what the hosts answered."""

    def __init__(self, cli: Cli, *, only: str | None, by: By | None, vitals: bool) -> None:
        self.cli = cli
        self.only = only
        self.by = by
        self.vitals = vitals

    def show(self, answers: _Answers) -> int:
        """Draw, or print the document; returns the exit code."""
        out = self.cli.out
        missing = {name: one for name, one in answers.items() if isinstance(one, HostError)}
        if len(missing) == len(answers):
            raise next(iter(missing.values()))
        if out.json:
            out.document(self.document(answers))
        elif self.vitals:
            self._draw_vitals(answers)
        else:
            self._draw(answers)
        for name, error in missing.items():
            out.warn(f"{name} is not counted: {error.what}; {error.fix}")
        return UNREACHABLE if missing else 0

    def document(self, answers: _Answers) -> dict[str, Any]:
        """For programs."""
        app, environment = self.cli.where
        found, cells, pages = self._found(answers)
        seconds = _seconds(found)
        kinds: dict[str, Any] = {}
        for by in BYS:
            sums = counting.grouped(cells, by)
            kinds[f"by_{by}"] = [{by: name, **one.to_json(seconds=seconds)} for name, one in sums.items()]
            if self.vitals:
                told = counting.vitals_by(pages, by)
                kinds[f"vitals_by_{by}"] = [
                    {by: name, "metrics": [one.to_json() for one in metrics]} for name, metrics in told.items()
                ]
        return {
            "app": app,
            "environment": environment,
            "seconds": round(seconds, 3),
            "total": counting.total(cells).to_json(seconds=seconds),
            **kinds,
            "hosts": [_host(name, one) for name, one in answers.items()],
        }

    def short(self, answers: _Answers) -> str:
        """One line of a pipe."""
        found, cells, _ = self._found(answers)
        every = counting.total(cells)
        seconds = _seconds(found)
        numbers = dict(zip(_NUMBERS, _cells(every, seconds), strict=True))
        return f"{_now()} " + " ".join(f"{name.lower()}={value.replace(' ', '')}" for name, value in numbers.items())

    def _found(self, answers: _Answers) -> tuple[list[HostTraffic], list[Cell], list[VitalCell]]:
        found = [one for one in answers.values() if isinstance(one, HostTraffic)]
        cells = [cell for one in found for cell in one.cells if self.only in {None, cell.release}]
        return found, cells, [cell for one in found for cell in one.vitals if self.only in {None, cell.release}]

    def _draw(self, answers: _Answers) -> None:
        out = self.cli.out
        found, cells, _ = self._found(answers)
        seconds = _seconds(found)
        app, environment = self.cli.where
        out.line(f"{out.paint(f'{app} {environment}', 'bold')}  {_window(found)}")
        if not cells:
            out.line("no requests")
            return
        sums: dict[By, Mapping[str, Sum]] = {by: counting.grouped(cells, by) for by in BYS}
        for by in (self.by,) if self.by else BYS:
            if not self.by and by == "host" and len(found) == 1:
                continue
            out.line()
            self._table(by, sums[by], seconds, most=len(sums[by]) if self.by else _MOST_ROUTES)
        out.line()
        self._table_of("ALL", [("", counting.total(cells))], seconds)

    def _table(self, by: By, sums: Mapping[str, Sum], seconds: float, *, most: int) -> None:
        rows = list(sums.items())
        # what fails is never hidden among what is asked for seldom
        shown = rows[:most] + [row for row in rows[most:] if row[1].errors]
        self._table_of(by.upper(), shown, seconds)
        if len(shown) < len(rows):
            self.cli.out.line(self.cli.out.paint(f"and {len(rows) - len(shown)} more: --by {by}", "dim"))

    def _table_of(self, head: str, rows: Sequence[tuple[str, Sum]], seconds: float) -> None:
        out = self.cli.out
        drawn = []
        for name, one in rows:
            cells = _cells(one, seconds)
            cells[3] = out.paint(cells[3], "red", "bold") if one.errors else cells[3]
            drawn.append([*cells, clean(name)])
        out.table((*_NUMBERS, head), drawn, right=_NUMBERS)

    def _draw_vitals(self, answers: _Answers) -> None:
        out = self.cli.out
        found, _, pages = self._found(answers)
        app, environment = self.cli.where
        out.line(f"{out.paint(f'{app} {environment}', 'bold')}  {_window(found)}")
        if not pages:
            out.line("no page has told of itself; docs/traffic.md has the lines that an app needs for it")
            return
        for by in (self.by,) if self.by else ("release", "route"):
            out.line()
            rows = [
                (one.name, f"{one.count:,}", _p75(one), *_shares(one), clean(name))
                for name, metrics in counting.vitals_by(pages, by).items()
                for one in metrics
            ]
            numbers = ("TOLD", "P75", "GOOD", "NEEDS IMPROVEMENT", "POOR")
            out.table(("METRIC", *numbers, by.upper()), rows, right=numbers)


def _cells(one: Sum, seconds: float) -> list[str]:
    times = [_ms(counting.quantile(one.buckets, share)) for share in (0.5, 0.95, 0.99)]
    rate = one.count / seconds if seconds else 0.0
    return [
        f"{one.count:,}",
        f"{rate:.1f}" if rate < 100 else f"{rate:,.0f}",  # noqa: PLR2004 - digits that mean something
        _percent(one.refused, one.count),
        _percent(one.errors, one.count),
        *times,
        format_size(one.size),
    ]


def _percent(some: int, whole: int) -> str:
    if not some:
        return "0 %"
    share = 100 * some / whole
    return f"{share:.1f} %" if share >= 0.1 else "<0.1 %"  # noqa: PLR2004 - the digits that are shown


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3g} ms" if value < 1000 else f"{value / 1000:.3g} s"  # noqa: PLR2004 - a second


def _p75(one: VitalSum) -> str:
    if one.p75 is None:
        return "-"
    return f"{round(one.p75, 4):g}" if one.name == "CLS" else _ms(one.p75)


def _shares(one: VitalSum) -> tuple[str, str, str]:
    good, middling, poor = (_percent(some, one.count) for some in (one.good, one.middling, one.poor))
    return good, middling, poor


def _seconds(found: Sequence[HostTraffic]) -> float:
    return max((one.seconds for one in found), default=0.0)


def _window(found: Sequence[HostTraffic]) -> str:
    """What the numbers speak of; a host that has dropped some of it says so."""
    asked = max((one.until - one.since for one in found), default=0.0)
    text = f"the last {format_duration(float(round(asked)))}"
    known = min((one.seconds for one in found), default=asked)
    return f"{text} (known: {format_duration(float(round(known)))})" if known < asked - 1 else text


def _host(name: HostName, one: HostTraffic | HostError) -> dict[str, Any]:
    if isinstance(one, HostError):
        return {"name": name, "error": one.to_json()}
    return {
        "name": name,
        "since": _iso(one.since),
        "until": _iso(one.until),
        "oldest": _iso(one.oldest) if one.oldest is not None else None,
        "error": None,
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _now() -> str:
    return _iso(time.time())
