"""`deployd rollback`: back to the last release that was live and good, or to a named one. Never builds, never waits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli import running
from deployd.cli.outcome import conclude
from deployd.cli.verbs import verb
from deployd.domain.release import Mark
from deployd.errors import UnreachableError

if TYPE_CHECKING:
    from deployd.cli.context import Cli


@verb(example="deployd rollback")
def rollback(
    cli: Cli,
    release: Annotated[
        str | None,
        typer.Argument(
            metavar="[RELEASE]", help="A release id, or its last part. [default: the last one that was live and good]"
        ),
    ] = None,
) -> int:
    """Go back to the last release that was live and good, or to a named one.

    A running release is cancelled and turned back first. If one host lacks the release, no host is touched. What is
    left is marked bad, and automatic releases pause until `deployd unpin` or a new commit. While a canary is on, only
    that ends, and what is live stays.
    """
    try:
        return _back(cli, release)
    except UnreachableError as error:
        away = {error.host, *(re.split("[: ]", line, maxsplit=1)[0] for line in (error.details or "").splitlines())}
        others = [name for name in cli.hosts() if name not in away]
        if not others or error.host not in cli.hosts():
            raise
        words = " ".join(["deployd rollback", *([release] if release else []), *(f"--host {name}" for name in others)])
        raise error.but(fix=f"{error.fix}; the others go back without it by `{words}`") from error


def _back(cli: Cli, release: str | None) -> int:
    from deployd.rollouts.wishes import RollbackWish

    app, environment = cli.where
    ended = None if release else cli.client.doors.end_canary(app, environment, hosts=cli.hosts())
    if ended:
        cli.client.mark(ended, Mark.BAD)
        cli.out.result(
            {"event": "canary_ended", "release": ended}, f"everybody gets the current release; {ended} is marked bad"
        )
        return 0
    wish = RollbackWish(
        app=app,
        environment=environment,
        hosts=cli.hosts(),
        options=cli.app_environment.options,
        release=cli.release_id(release) if release else None,
    )
    result = running.run(
        cli,
        lambda report, cancel: cli.client.rollback(wish, report=report, cancel=cancel),
        question="Cancel this rollback? Hosts that flipped are flipped again.",
        moving=False,  # over in less than a second: a moving picture would only flash
    )
    code = conclude(cli, result, verb="back")
    if code == 0 and result.previous and result.previous != result.release:
        cli.out.note(f"{result.previous} is marked bad; automatic releases pause until `deployd unpin` or a new commit")
    return code
