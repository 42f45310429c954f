"""`deployd hook`: an app's webhook: its address, its secret, and what forges sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli.context import parse_id
from deployd.cli.forge import read_secret
from deployd.cli.render import clean
from deployd.cli.status import ago
from deployd.cli.verbs import Noun
from deployd.domain.ids import AppName
from deployd.errors import UsageError

if TYPE_CHECKING:
    from typing import Any

    from deployd.cli.context import Cli

hooks = Noun("hook", "Webhooks: a push to GitHub, GitLab, Bitbucket, Gitea or Forgejo starts a release")

_SHORTEST = 16
_App = Annotated[str, typer.Argument(metavar="APP", help="The app's name.")]
_WHERE = (
    ("GitHub", "Settings, Webhooks, Add: content type application/json; events: pushes, pull requests"),
    (
        "GitLab",
        "Settings, Webhooks: as signing token (or secret token); triggers: push, tag push, merge request events",
    ),
    ("Bitbucket", "Repository settings, Webhooks: as secret; triggers: push, pull request created/updated/merged"),
    ("Gitea, Forgejo", "Settings, Webhooks, Add: method POST, application/json; events: push, pull request"),
)


@hooks.verb("show", example="deployd hook show shop")
def show(cli: Cli, app: _App) -> None:
    """Show where the forge sends its deliveries; the first time with a fresh secret, which is shown once."""
    _tell(cli, cli.daemon.pushes.hook(parse_id(AppName.parse, app, flag="APP"), rotate=False))


@hooks.verb("rotate", example="deployd hook rotate shop")
def rotate(
    cli: Cli,
    app: _App,
    *,
    secret_stdin: Annotated[
        bool, typer.Option("--secret-stdin", help="Take the secret from stdin: a token that the forge made.")
    ] = False,
) -> None:
    """Make a new secret (or take the forge's own); deliveries that are signed with the old one are refused then."""
    name = parse_id(AppName.parse, app, flag="APP")
    secret = read_secret(cli, stdin=True, asks="", flag="--secret-stdin") if secret_stdin else None
    if secret is not None and len(secret.reveal()) < _SHORTEST:
        raise UsageError(
            f"this secret has less than {_SHORTEST} characters",
            code="hook-secret-short",
            fix="let the forge make a longer one, or leave out --secret-stdin and take deployd's",
        )
    if secret is None:
        cli.confirm(f"Deliveries for {app} are refused until the forge has the new secret. Go on?")
    _tell(cli, cli.daemon.pushes.hook(name, rotate=True, secret=secret))


@hooks.verb("deliveries", example="deployd hook deliveries shop")
def deliveries(
    cli: Cli,
    app: _App,
    *,
    count: Annotated[int, typer.Option("-n", metavar="N", min=1, max=500, help="How many.")] = 20,
) -> None:
    """List what forges sent, newest first: what it started, or why it started nothing."""
    found = cli.daemon.pushes.deliveries(parse_id(AppName.parse, app, flag="APP"), limit=count)
    if cli.options.json:
        cli.out.document(found)
        return
    if not found:
        cli.out.line(f"no delivery for {app} came yet")
        cli.out.next(f"deployd hook show {app}", "deployd audit")
        return
    rows = [
        (
            ago(one["received"]),
            one["forge"],
            str(one["event"]),
            ", ".join(one["rollouts"]) or "-",
            clean("; ".join(map(_end, one["became"])) or one["reason"] or ""),
        )
        for one in found
    ]
    cli.out.table(("CAME", "FROM", "WHAT", "STARTED", "WHICH"), rows)


def _end(became: dict[str, Any]) -> str:
    return f"{became['state']}: {became['reason']}" if became["reason"] else str(became["state"])


def _tell(cli: Cli, found: dict[str, Any]) -> None:
    if cli.options.json:
        cli.out.document(found)
        return
    pairs = [("url", found["url"] if found["complete"] else f"https://THIS-MACHINE{found['url']}")]
    since = f"set {ago(found['since'])}; it is not shown again" if found["since"] else "the one that you gave"
    pairs.append(("secret", found["secret"] or since))
    cli.out.pairs(pairs)
    if found["secret"]:
        cli.out.note("the secret is shown this once; paste both on the forge:")
        cli.out.pairs(_WHERE)
    else:
        cli.out.next(f"deployd hook rotate {found['app']}", f"deployd hook deliveries {found['app']}")
    if not found["complete"]:
        cli.out.warn("set `public_url` in the daemon's configuration, and the address is whole")
