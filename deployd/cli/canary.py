"""`deployd canary 10%`: some visitors get a prepared release and keep it; `release --finish` gives it to everybody."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli import running
from deployd.cli.outcome import conclude
from deployd.cli.verbs import verb
from deployd.domain.ids import ReleaseId
from deployd.domain.release import ReleaseState
from deployd.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from deployd.cli.context import Cli

_MOST = 100


@verb(example="deployd canary 10%")
def canary(
    cli: Cli,
    share: Annotated[str, typer.Argument(metavar="PERCENT", help="How many of a hundred visitors: 10%, or off.")],
    *,
    release: Annotated[
        str | None,
        typer.Option(
            "--release", metavar="ID", help="Which release. [default: the canary, or the newest prepared one]"
        ),
    ] = None,
) -> None:
    """Give some visitors a release that is prepared (`deployd release --no-activate`), by a cookie that sticks.

    Who is in at 10% is in at 50%, too. Nothing is reloaded, and nothing else changes: `deployd release --finish` makes
    it live for everybody, `deployd rollback` (or `canary off`) gives everybody the current release. Any flip ends it.
    """
    app, environment = cli.where
    hosts, doors = cli.hosts(), cli.client.doors
    if share == "off":
        was = doors.end_canary(app, environment, hosts=hosts)
        text = f"everybody gets the current release; {was} stays prepared" if was else "there is no canary"
        cli.out.result({"release": was, "percent": 0}, text)
        return
    percent = _percent(share)
    chosen = cli.release_id(release) if release else _in_force(cli) or _prepared(cli)
    doors.canary(app, environment, hosts=hosts, release=chosen, percent=percent)
    cli.out.result({"release": chosen, "percent": percent}, f"{percent:g}% of visitors get {chosen}")
    cli.out.next("deployd canary 50%", "deployd release --finish", "deployd rollback")


def finished(cli: Cli, *, message: str | None, with_others: bool) -> int:
    """Bring the canary live for everybody; the exit code."""
    from deployd.rollouts.wishes import ActivateWish

    if with_others:
        raise UsageError(
            "--finish brings the canary live, and takes nothing else", code="usage", fix="release --finish"
        )
    app, environment = cli.where
    chosen = _in_force(cli)
    if chosen is None:
        raise NotFoundError(
            f"{app} {environment} has no canary",
            code="no-canary",
            fix="begin one: deployd release --no-activate, then deployd canary 10%",
        )
    wish = ActivateWish(
        app=app,
        environment=environment,
        release=chosen,
        hosts=cli.hosts(),
        options=cli.app_environment.options,
        message=message,
    )
    result = running.run(
        cli,
        lambda report, cancel: cli.client.activate(wish, report=report, cancel=cancel),
        question="Cancel this? The canary ends, and what is live stays live.",
    )
    return conclude(cli, result)


def _percent(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]+)?)%?", text)
    if not found or float(found[1]) > _MOST:
        raise UsageError(f"{text!r} is no share of the visitors", code="usage", fix="for example: deployd canary 10%")
    return float(found[1])


def _in_force(cli: Cli) -> ReleaseId | None:
    found = cli.client.status(*cli.where, cli.hosts())
    return next((ReleaseId(host.canary["release"]) for host in found.hosts if host.canary), None)


def _prepared(cli: Cli) -> ReleaseId:
    app, environment = cli.where
    chosen = next((one.id for one in cli.client.releases(app, environment) if one.state is ReleaseState.PREPARED), None)
    if chosen is None:
        raise NotFoundError(
            f"no release of {app} is prepared in {environment}",
            code="nothing-prepared",
            fix="prepare one first: deployd release --no-activate",
        )
    return chosen
