"""`deployd preview`: pull requests, what was prepared for each, what waits for a yes, and who may see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli.context import parse_id
from deployd.cli.open import label_of, require_address
from deployd.cli.release import seconds_of
from deployd.cli.render import clean
from deployd.cli.status import ago
from deployd.cli.verbs import Noun
from deployd.domain.ids import AppName
from deployd.errors import UsageError

if TYPE_CHECKING:
    from deployd.cli.context import Cli

previews = Noun("preview", "Previews of pull requests: list, approve those of forks, remove")

_LONGEST = 72  # bcrypt takes no more
_MINUTE, _YEAR = 60, 366 * 86_400

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
        cli.out.next(f"deployd approve pull/{held[0]}")


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


@previews.verb("password", example="deployd preview password")
def password(cli: Cli) -> None:
    """Ask for a password and print its hash, for `preview_password` in deployd.toml. The user is `preview`."""
    import bcrypt

    text = cli.out.ask_hidden("The previews' password: ") if cli.out.can_ask else cli.out.stdin.readline().rstrip("\n")
    if not 0 < len(text.encode()) <= _LONGEST:
        raise UsageError(
            f"a password has 1 to {_LONGEST} bytes",
            code="password-invalid",
            fix="choose another; it is read from stdin",
        )
    hashed = bcrypt.hashpw(text.encode(), bcrypt.gensalt(12)).decode()
    _say(cli, {"preview_password": hashed}, f'preview_password = "{hashed}"')


@previews.verb("link", example="deployd preview link --release k2x7 --for 7d")
def link(
    cli: Cli,
    *,
    release: Annotated[str | None, typer.Option("--release", metavar="ID", help="Of this release.")] = None,
    branch: Annotated[str | None, typer.Option("--branch", metavar="NAME", help="Of this branch's newest.")] = None,
    within: Annotated[str, typer.Option("--for", metavar="T", help="For how long it opens the preview.")] = "7d",
) -> None:
    """Print a link to one preview for people who do not know the password.

    It is good for this one address, until its time is over or the release is removed.
    """
    if (release is None) == (branch is None):
        raise UsageError("name either --release or --branch", code="usage", fix="deployd preview link --release ID")
    label = str(label_of(cli, release=release, branch=branch))
    url, (app, environment) = require_address(cli, label), cli.where
    seconds = seconds_of(within, flag="--for")
    if not _MINUTE <= seconds <= _YEAR:
        raise UsageError(f"a link is good for a minute to a year, not for {within}", code="usage", fix="--for 7d")
    key = cli.client.doors.share(app, environment, hosts=cli.hosts(), label=label, seconds=seconds)
    shared = f"{url}/?deployd_share={key}"
    _say(cli, {"url": shared, "seconds": seconds}, shared)


def _say(cli: Cli, value: dict[str, object], text: str) -> None:
    if cli.options.json:
        cli.out.document(value)
    else:
        cli.out.line(text)


def _app(cli: Cli, named: str | None) -> AppName:
    return parse_id(AppName.parse, named, flag="--app") if named else cli.app.name
