"""`deployd freeze` and `unfreeze`: times in which an environment takes no release; rollbacks are never stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli.release import seconds_of
from deployd.cli.render import clean
from deployd.cli.schedule import Zone, at_home, local_zone
from deployd.cli.verbs import verb
from deployd.errors import UsageError

if TYPE_CHECKING:
    from deployd.cli.context import Cli


@verb(example='deployd freeze --until "2027-01-02 08:00" --reason "the holidays"')
def freeze(
    cli: Cli,
    what: Annotated[
        str | None, typer.Argument(metavar="[list]", help="`list` shows the freezes that are in force.")
    ] = None,
    *,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help='Its end: "2027-01-02 08:00", "tomorrow 08:00".')
    ] = None,
    within: Annotated[str | None, typer.Option("--for", metavar="T", help="How long: 2h, 3d.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; everybody is told.")] = None,
    timezone: Zone = None,
) -> None:
    """Stop releases of an environment for a time.

    What comes by itself (pushes, schedules) waits and goes on afterwards; people are told, and may release all the same
    with --during-freeze. Rollbacks are never stopped.
    """
    if what == "list":
        _list(cli)
        return
    if what is not None:
        raise UsageError(f"there is no `freeze {what}`", code="usage", fix="deployd freeze --for 2h, or: freeze list")
    zone = timezone or local_zone()
    made = cli.client.agenda.freeze(
        cli.app.name,
        cli.app_environment.name,
        until=until,
        within=seconds_of(within, flag="--for") if within is not None else None,
        reason=reason,
        timezone=zone,
    )
    cli.out.result(made, f"{made['app']} {made['environment']} is frozen until {at_home(made['until'], zone)}")
    cli.out.next("deployd freeze list", "deployd unfreeze")


@verb(example="deployd unfreeze -e production")
def unfreeze(cli: Cli) -> None:
    """End the freeze of an environment; what waited goes on."""
    app, environment = cli.where
    ended = cli.client.agenda.unfreeze(app, environment)
    cli.out.result(
        {"ended": ended},
        f"{app} {environment} is not frozen any more" if ended else f"{app} {environment} was not frozen",
    )


def _list(cli: Cli) -> None:
    environment = cli.environment if cli.options.environment else None
    found = cli.client.agenda.freezes(cli.app.name, environment)
    if cli.options.json:
        cli.out.document(found)
        return
    if not found:
        cli.out.line(f"nothing of {cli.app.name} is frozen")
        return
    zone = local_zone()
    rows = [
        (one["environment"], at_home(one["until"], zone), clean(one["who"]), clean(one["reason"] or ""))
        for one in found
    ]
    cli.out.table(("ENVIRONMENT", "UNTIL", "BY", "WHY"), rows)
