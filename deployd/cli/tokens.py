"""`deployd token`, `deployd audit`: who may talk to the daemon from elsewhere, and who did what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli.context import parse_id
from deployd.cli.release import seconds_of
from deployd.cli.render import clean
from deployd.cli.status import ago
from deployd.cli.verbs import Noun, verb
from deployd.domain.daemon import SCOPES
from deployd.domain.ids import AppName
from deployd.errors import UsageError

if TYPE_CHECKING:
    from deployd.cli.context import Cli

tokens = Noun("token", "Tokens for the daemon's API: create, list, revoke")


@tokens.verb("create", example="deployd token create --scope release --app shop --expires 90d")
def create(
    cli: Cli,
    *,
    scope: Annotated[str, typer.Option("--scope", metavar="SCOPE", help="read, release or admin.")] = "read",
    app: Annotated[
        list[str] | None,
        typer.Option("--app", metavar="APP", help="For this app only; repeatable. [default: every app]"),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="T", help="For how long: 90d. [default: until it is revoked]")
    ] = None,
    note: Annotated[
        str | None, typer.Option("-m", "--message", metavar="TEXT", help="Whose it is; shown as who did something.")
    ] = None,
) -> None:
    """Make a token. It is shown once: deployd keeps only its hash."""
    if scope not in SCOPES:
        raise UsageError(f"there is no scope {scope!r}", code="usage", fix=f"choose among {', '.join(SCOPES)}")
    names = [parse_id(AppName.parse, one, flag="--app") for one in app or ()]
    seconds = seconds_of(expires, flag="--expires") if expires else None
    made, text = cli.daemon.create_token(scope=scope, apps=names, expires_in=seconds, note=note)
    if cli.options.json:
        cli.out.document({**made.to_json(), "token": text})
        return
    cli.out.line(text)
    cli.out.note(f"token {made.id} ({made.scope}, {', '.join(made.apps) or 'every app'}); it is not shown again")


@tokens.verb("list", example="deployd token list")
def list_(cli: Cli) -> None:
    """List the tokens, without their secrets."""
    found = cli.daemon.tokens()
    if cli.options.json:
        cli.out.document([token.to_json() for token in found])
        return
    if not found:
        cli.out.line("there is no token")
        return
    cli.out.table(
        ("TOKEN", "SCOPE", "APPS", "NOTE", "MADE", "EXPIRES", "USED"),
        [
            (
                token.id,
                token.scope,
                ", ".join(token.apps) or "all",
                clean(token.note or "-"),
                ago(token.created),
                "revoked" if token.revoked else (token.expires or "never"),
                ago(token.used) if token.used else "never",
            )
            for token in found
        ],
    )


@tokens.verb("revoke", example="deployd token revoke 1a2b3c4d5e")
def revoke(cli: Cli, token: Annotated[str, typer.Argument(metavar="TOKEN", help="The token's id.")]) -> None:
    """Revoke a token: it is refused from the next request on."""
    if not token.isalnum():
        raise UsageError(f"{token!r} is no token's id", code="name-invalid", fix="see `deployd token list`")
    done = cli.daemon.revoke_token(token)
    cli.out.result(done.to_json(), f"token {done.id} is revoked")


@verb(example="deployd audit -n 100")
def audit(
    cli: Cli,
    *,
    count: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=1, max=500, help="How many.")] = 50,
    app: Annotated[str | None, typer.Option("--app", metavar="APP", help="Of this app only.")] = None,
) -> None:
    """Show who did what, when and from where, newest first. Nothing is ever taken out of this log."""
    name = parse_id(AppName.parse, app, flag="--app") if app else None
    found = cli.daemon.audit(name, limit=count)
    if cli.options.json:
        cli.out.document([entry.to_json() for entry in found])
        return
    cli.out.table(
        ("WHEN", "WHO", "FROM", "WHAT", "ON", "OUTCOME"),
        [
            (
                entry.time,
                clean(entry.who),
                clean(entry.origin),
                clean(entry.action),
                clean(" ".join(filter(None, (entry.app, entry.environment, entry.subject))) or "-"),
                clean(entry.outcome),
            )
            for entry in found
        ],
    )
