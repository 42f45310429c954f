"""`deployd notify`: who is told when a release starts, is live, fails, or is taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli.context import parse_id
from deployd.cli.forge import read_secret
from deployd.cli.status import ago
from deployd.cli.verbs import Noun
from deployd.domain.ids import AppName
from deployd.errors import DeploydError, UsageError
from deployd.notify import MOMENTS

if TYPE_CHECKING:
    from deployd.cli.context import Cli

targets = Noun("notify", "Notifications: Slack, mail, Discord and whatever else apprise speaks to")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="A name for it: team-chat.")]
_App = Annotated[str | None, typer.Option("--app", metavar="APP", help="For this app only. [default: every app]")]


@targets.verb("add", example="deployd notify add team-chat --url-stdin < address")
def add(
    cli: Cli,
    name: _Name,
    *,
    url_stdin: Annotated[bool, typer.Option("--url-stdin", help="Read the address from stdin.")] = False,
    app: _App = None,
    event: Annotated[
        list[str] | None,
        typer.Option(
            "--event",
            metavar="EVENT",
            help="started, waiting (for an approval), live, failed or rolled_back; repeatable.",
        ),
    ] = None,
) -> None:
    """Tell a service, by its address as apprise has them (slack://..., mailtos://...). It is kept encrypted."""
    address = read_secret(cli, stdin=url_stdin, asks="Address: ", flag="--url-stdin")
    owner = parse_id(AppName.parse, app, flag="--app") if app else None
    for one in event or ():
        if one not in MOMENTS:
            raise UsageError(f"--event is {one!r}", code="usage", fix=f"choose among {', '.join(MOMENTS)}")
    made = cli.daemon.pushes.add_target(name, address, app=owner, events=event or ())
    cli.out.result(made, f"{name} ({made['service']}) is told of {', '.join(made['events'])}")
    cli.out.next(f"deployd notify test {name}")


@targets.verb("list", example="deployd notify list")
def list_(cli: Cli) -> None:
    """List who is told; addresses are never shown."""
    found = cli.daemon.pushes.targets()
    if cli.options.json:
        cli.out.document(found)
        return
    if not found:
        cli.out.line("nobody is told")
        cli.out.next("deployd notify add team-chat --url-stdin")
        return
    rows = [
        (one["name"], one.get("service") or "-", one["app"] or "all", ", ".join(one["events"]), ago(one["updated"]))
        for one in found
    ]
    cli.out.table(("NAME", "SERVICE", "APP", "EVENTS", "SET"), rows)


@targets.verb("remove", example="deployd notify remove team-chat")
def remove(cli: Cli, name: _Name, *, app: _App = None) -> None:
    """Tell it nothing more."""
    cli.daemon.pushes.remove_target(name, app=parse_id(AppName.parse, app, flag="--app") if app else None)
    cli.out.result({"removed": name}, f"{name} is told nothing more")


@targets.verb("test", example="deployd notify test team-chat")
def try_(cli: Cli, name: _Name, *, app: _App = None) -> None:
    """Send a message now."""
    owner = parse_id(AppName.parse, app, flag="--app") if app else None
    if not cli.daemon.pushes.try_target(name, app=owner):
        raise DeploydError(
            f"{name} did not take the message",
            code="notify-failed",
            fix="see whether the address is right and the service answers from the daemon's machine",
        )
    cli.out.result({"sent": name}, f"{name} took a message")
