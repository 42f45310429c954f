"""`deployd preview`: pull requests, what was prepared for each, and those of forks that wait for a yes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli.context import parse_id
from deployd.cli.render import clean
from deployd.cli.status import ago
from deployd.cli.verbs import Noun
from deployd.domain.ids import AppName

if TYPE_CHECKING:
    from deployd.cli.context import Cli

previews = Noun("preview", "Previews of pull requests: list, approve those of forks, remove")

_App = Annotated[str | None, typer.Option("--app", metavar="APP", help="The app. [default: that of deployd.toml]")]
_Number = Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="The pull request's number.")]


@previews.verb("list", example="deployd preview list --app shop")
def list_(cli: Cli, *, app: _App = None) -> None:
    """List pull requests and where each can be seen."""
    found = cli.daemon.pushes.previews(_app(cli, app))
    if cli.options.json:
        cli.out.document(found)
        return
    if not found:
        cli.out.line("there is no preview")
        return
    rows = [
        (
            f"#{one['number']}",
            clean(str(one["title"])),
            clean(str(one["branch"])) + (" (fork)" if one["fork"] else ""),
            one["state"],
            one["address"] or one["release"] or "-",
            ago(one["updated"]),
        )
        for one in found
    ]
    cli.out.table(("PULL", "TITLE", "BRANCH", "STATE", "SEE", "CHANGED"), rows)
    held = [one["number"] for one in found if one["state"] == "held"]
    if held:
        cli.out.next(f"deployd preview approve {held[0]}")


@previews.verb("approve", example="deployd preview approve 12 --app shop")
def approve(cli: Cli, number: _Number, *, app: _App = None) -> None:
    """Build a fork's pull request, at the commit that it has now and no later one; it gets no secrets."""
    rollout = cli.daemon.pushes.approve_preview(_app(cli, app), number)
    cli.out.result({"rollout": rollout}, f"pull request {number} is being prepared by {rollout}")
    cli.out.next(f"deployd watch {rollout}")


@previews.verb("remove", example="deployd preview remove 12 --app shop")
def remove(cli: Cli, number: _Number, *, app: _App = None) -> None:
    """Remove a preview from its hosts; the pull request's next commit brings it back."""
    cli.daemon.pushes.remove_preview(_app(cli, app), number)
    cli.out.result({"removed": number}, f"the preview of pull request {number} is being removed")


def _app(cli: Cli, named: str | None) -> AppName:
    return parse_id(AppName.parse, named, flag="--app") if named else cli.app.name
