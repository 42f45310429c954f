"""`deployd app`: the apps that the daemon releases by itself, and the repository that each comes from."""

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

apps = Noun("app", "Apps that the daemon releases by itself, from their repositories")


@apps.verb("add", example="deployd app add shop --repository https://git.example/shop.git --dir apps/web")
def add(
    cli: Cli,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The app's name, as in its deployd.toml.")],
    *,
    repository: Annotated[
        str, typer.Option("--repository", metavar="URL", help="Where the daemon fetches it: a URL, or a folder there.")
    ],
    directory: Annotated[
        str, typer.Option("--dir", metavar="SUBDIR", help="The app's folder in the repository. [default: its top]")
    ] = "",
) -> None:
    """Register an app, so that pushes and schedules can release it; doing it again changes where it comes from."""
    app = cli.daemon.add_app(parse_id(AppName.parse, name, flag="NAME"), repository=repository, subdir=directory)
    where = f"{app.repository} ({app.subdir})" if app.subdir else app.repository
    cli.out.result(app.to_json(), f"{app.name} comes from {where}")


@apps.verb("list", example="deployd app list")
def list_(cli: Cli) -> None:
    """List the registered apps."""
    found = cli.daemon.apps()
    if cli.options.json:
        cli.out.document([app.to_json() for app in found])
        return
    if not found:
        cli.out.line("no app is registered")
        cli.out.next("deployd app add NAME --repository URL")
        return
    cli.out.table(
        ("APP", "REPOSITORY", "DIR", "ADDED", "BY"),
        [
            (str(app.name), clean(app.repository), clean(app.subdir or "-"), ago(app.created), clean(app.who))
            for app in found
        ],
    )


@apps.verb("remove", example="deployd app remove shop")
def remove(cli: Cli, name: Annotated[str, typer.Argument(metavar="NAME", help="The app's name.")]) -> None:
    """Forget an app, its webhook and its scheduled releases: nothing releases it by itself any more.

    Its releases and what is live stay.
    """
    app = parse_id(AppName.parse, name, flag="NAME")
    cli.confirm(f"Forget {app}?")
    cli.daemon.remove_app(app)
    cli.out.result({"removed": app}, f"{app} is forgotten; what is live stays live")
