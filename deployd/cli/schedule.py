"""`deployd schedule`: releases, rollbacks and promotions that happen by themselves, once or again and again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from deployd.cli.context import parse_id
from deployd.cli.release import seconds_of
from deployd.cli.render import clean
from deployd.cli.verbs import Noun
from deployd.domain.ids import EnvironmentName
from deployd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.cli.context import Cli

schedules = Noun("schedule", "Releases and rollbacks that happen by themselves: once, or again and again")

At = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME", help='When: "2026-11-22 04:00", "tomorrow 04:00", "04:00", or an ISO time.'),
]
In = Annotated[str | None, typer.Option("--in", metavar="T", help="How long from now: 30m, 2h, 1d.")]
CronText = Annotated[
    str | None,
    typer.Option(
        "--cron", metavar="EXPR", help="Again and again: minute, hour, day, month, weekday; 1-5 is Monday to Friday."
    ),
]
Zone = Annotated[
    str | None,
    typer.Option(
        "--timezone", metavar="ZONE", help="The zone of these times: Europe/Berlin. [default: this machine's]"
    ),
]
Missed = Annotated[
    str | None,
    typer.Option(
        "--if-missed",
        metavar="run|skip",
        help="What becomes of a run while no daemon ran. [default: run once; with --cron: skip]",
    ),
]
Message = Annotated[str | None, typer.Option("-m", "--message", metavar="TEXT", help="Why; kept with the release.")]


@schedules.verb("release", example='deployd schedule release --cron "0 4 * * 1-5" --timezone Europe/Berlin')
def release(
    cli: Cli,
    *,
    at: At = None,
    within: In = None,
    cron: CronText = None,
    timezone: Zone = None,
    if_missed: Missed = None,
    ref: Annotated[
        str | None,
        typer.Option("--ref", metavar="REF", help="A branch, tag or commit, as it is then. [default: the branch]"),
    ] = None,
    message: Message = None,
) -> None:
    """Release at a time, or again and again. It waits for freezes and pins, as a push does.

    The daemon fetches the app's registered repository at that time.
    """
    branch = cli.app_environment.branch
    times = _Times(at=at, within=within, cron=cron, timezone=timezone, if_missed=if_missed)
    _make(cli, "release", times, ref=ref or branch, message=message)


@schedules.verb("rollback", example="deployd schedule rollback --in 30m")
def rollback(
    cli: Cli,
    *,
    at: At = None,
    within: In = None,
    cron: CronText = None,
    timezone: Zone = None,
    if_missed: Missed = None,
    release_id: Annotated[
        str | None,
        typer.Option("--release", metavar="ID", help="Where to. [default: the last one that was live and good]"),
    ] = None,
) -> None:
    """Go back at a time: to the release that is named now, or to the last good one then."""
    found = cli.release_id(release_id) if release_id else None
    times = _Times(at=at, within=within, cron=cron, timezone=timezone, if_missed=if_missed)
    _make(cli, "rollback", times, release=found)


@schedules.verb("promote", example='deployd schedule promote --release k2x7 -e staging --to production --at "04:00"')
def promote(
    cli: Cli,
    *,
    release_id: Annotated[str, typer.Option("--release", metavar="ID", help="A release of --environment.")],
    to: Annotated[str, typer.Option("--to", metavar="ENVIRONMENT", help="Where it is to be live.")],
    at: At = None,
    within: In = None,
    cron: CronText = None,
    timezone: Zone = None,
    if_missed: Missed = None,
    message: Message = None,
) -> None:
    """Bring a release live in another environment at a time."""
    target = cli.app.environment(parse_id(EnvironmentName.parse, to, flag="--to")).name
    found = cli.release_id(release_id)
    times = _Times(at=at, within=within, cron=cron, timezone=timezone, if_missed=if_missed)
    _make(cli, "promote", times, release=found, message=message, environment=target)


@schedules.verb("list", example="deployd schedule list")
def list_(
    cli: Cli,
    *,
    every: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False,
) -> None:
    """List what is to come in the environment (with no -e in all of them), with the next runs and the last one."""
    environment = cli.environment if cli.options.environment else None
    found = cli.client.agenda.schedules(cli.app.name, environment, every=every)
    if cli.options.json:
        cli.out.document(found)
        return
    if not found:
        cli.out.line(f"nothing is scheduled for {cli.app.name}")
        return
    cli.out.table(
        ("ID", "WHAT", "WHERE", "NEXT", "THEN", "WHEN", "LAST", "BY"), [_row(one, every=every) for one in found]
    )
    _warn_without_daemon(cli)


@schedules.verb("cancel", example="deployd schedule cancel s-k2x7ab")
def cancel(cli: Cli, schedule: Annotated[str, typer.Argument(metavar="ID", help="Of `schedule list`.")]) -> None:
    """Cancel a schedule; what it began already goes on (`deployd cancel` stops that)."""
    found = cli.client.agenda.cancel_schedule(schedule)
    cli.out.result(found, f"{schedule} is cancelled")


@schedules.verb("run-now", example="deployd schedule run-now s-k2x7ab")
def run_now(cli: Cli, schedule: Annotated[str, typer.Argument(metavar="ID", help="Of `schedule list`.")]) -> None:
    """Do at once what a schedule does, as your own ask; its own times stay as they are."""
    rollout = cli.client.agenda.run_schedule(schedule)
    cli.out.result({"schedule": schedule, "rollout": rollout}, f"{schedule} runs as {rollout}")
    cli.out.next(f"deployd watch {rollout}")


def local_zone() -> str:
    """The name of this machine's time zone; UTC when it has none."""
    for name in (os.environ.get("TZ", ""), _linked_zone()):
        try:
            return ZoneInfo(name.lstrip(":")).key
        except (LookupError, ValueError, OSError):
            continue
    return "UTC"


def at_home(text: str, zone: str) -> str:
    """A moment as the clock on the wall shows it there, with weekday and offset."""
    return datetime.fromisoformat(text).astimezone(ZoneInfo(zone)).strftime("%a %Y-%m-%d %H:%M %z")


def _linked_zone() -> str:
    try:
        _, found, name = str(Path("/etc/localtime").readlink()).partition("zoneinfo/")
    except OSError:
        return ""
    return name if found else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Times:
    """The times of a schedule, as they were typed."""

    at: str | None
    within: str | None
    cron: str | None
    timezone: str | None
    if_missed: str | None


def _make(cli: Cli, kind: str, times: _Times, *, environment: EnvironmentName | None = None, **what: Any) -> None:
    if times.if_missed not in {None, "run", "skip"}:
        raise UsageError(
            f"--if-missed is {times.if_missed!r}", code="usage", fix="write --if-missed run or --if-missed skip"
        )
    zone = times.timezone or local_zone()
    made = cli.client.agenda.schedule(
        kind=kind,
        app=cli.app.name,
        environment=environment or cli.app_environment.name,
        at=times.at,
        within=seconds_of(times.within, flag="--in") if times.within is not None else None,
        cron=times.cron,
        timezone=zone,
        if_missed=times.if_missed,
        **what,
    )
    following = [at_home(text, made["timezone"]) for text in made["next_runs"]]
    cli.out.result(made, f"{made['id']}: {kind} of {made['app']} {made['environment']}, {following[0]} ({zone})")
    if not cli.options.json:
        for text in following[1:]:
            cli.out.line(f"  then {text}")
        cli.out.next("deployd schedule list", f"deployd schedule cancel {made['id']}")
    _warn_without_daemon(cli)


def _warn_without_daemon(cli: Cli) -> None:
    if not cli.client.agenda.fires:
        cli.out.warn("no daemon runs on this state folder: nothing happens at these times until `deployd serve` runs")


def _row(one: Mapping[str, Any], *, every: bool) -> tuple[str, ...]:
    zone, coming = one["timezone"], list(one["next_runs"])
    last = next(iter(one["runs"]), None)
    state = "" if one["state"] == "active" or not every else f"{one['state']}"
    when = f"cron {one['cron']}" if one["cron"] else "once"
    if one["purpose"] == "unconfirmed":
        when = f"unless confirmed: {one['rollout']}"
    return (
        one["id"],
        " ".join(str(part) for part in (one["kind"], one["release"] or one["ref"]) if part),
        one["environment"],
        at_home(coming[0], zone) if coming else state or "-",
        at_home(coming[1], zone) if len(coming) > 1 else "",
        f"{when} ({zone})",
        f"{last['outcome']} {last['rollout'] or last['why'] or ''}".strip() if last else "",
        clean(one["who"]),
    )
