"""`deployd forge`: tokens with which a release's state goes back to the forge, as commit status and comment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli.context import parse_id
from deployd.cli.status import ago
from deployd.cli.verbs import Noun
from deployd.domain.ids import AppName
from deployd.domain.secret import Secret
from deployd.errors import UsageError

if TYPE_CHECKING:
    from deployd.cli.context import Cli

forges = Noun("forge", "Tokens of forges: commit statuses, deployments and comments go back with them")
FORGES = ("github", "gitlab", "bitbucket", "bitbucket-server", "gitea")

_Forge = Annotated[str, typer.Argument(metavar="FORGE", help=f"{', '.join(FORGES)} (Forgejo is gitea).")]
_App = Annotated[str | None, typer.Option("--app", metavar="APP", help="For this app only. [default: every app]")]


@forges.verb("set", example="deployd forge set github --token-stdin < token")
def set_(
    cli: Cli,
    forge: _Forge,
    *,
    token_stdin: Annotated[bool, typer.Option("--token-stdin", help="Read the token from stdin.")] = False,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="The API of a forge of one's own: https://git.example/api/v1"),
    ] = None,
    app: _App = None,
) -> None:
    """Keep a token, encrypted. It needs to write commit statuses (and comments, for pull requests)."""
    _check(forge)
    token = read_secret(cli, stdin=token_stdin, asks="Token: ", flag="--token-stdin")
    owner = parse_id(AppName.parse, app, flag="--app") if app else None
    cli.daemon.pushes.set_forge(forge, token, url=url, app=owner)
    cli.out.result({"forge": forge, "app": owner}, f"a token of {forge} is kept for {owner or 'every app'}")


@forges.verb("list", example="deployd forge list")
def list_(cli: Cli) -> None:
    """List the forges that there is a token for; tokens are never shown."""
    found = cli.daemon.pushes.forges()
    if cli.options.json:
        cli.out.document(found)
        return
    if not found:
        cli.out.line("no token of a forge is kept")
        cli.out.next("deployd forge set github --token-stdin")
        return
    rows = [
        (one["name"], one["app"] or "all", one.get("url") or "its own", ago(one["updated"]), one["who"])
        for one in found
    ]
    cli.out.table(("FORGE", "APP", "API", "SET", "BY"), rows)


@forges.verb("remove", example="deployd forge remove github")
def remove(cli: Cli, forge: _Forge, *, app: _App = None) -> None:
    """Forget a token; nothing goes back to that forge from then on."""
    _check(forge)
    cli.daemon.pushes.remove_forge(forge, app=parse_id(AppName.parse, app, flag="--app") if app else None)
    cli.out.result({"removed": forge}, f"the token of {forge} is forgotten")


def read_secret(cli: Cli, *, stdin: bool, asks: str, flag: str) -> Secret:
    """A secret from stdin or asked for; never from the command line."""
    if stdin:
        text = cli.out.stdin.read().strip()
    elif cli.out.can_ask:
        text = cli.out.ask_hidden(asks).strip()
    else:
        raise UsageError("nobody can be asked for it", code="needs-answer", fix=f"pass {flag}, and it on stdin")
    if not text:
        raise UsageError("nothing was given", code="needs-answer", fix=f"pass {flag}, and it on stdin")
    return Secret(text)


def _check(forge: str) -> None:
    if forge not in FORGES:
        raise UsageError(f"there is no forge {forge!r}", code="usage", fix=f"choose among {', '.join(FORGES)}")
