"""`deployd promote`: the same artifact, live in another environment, with that environment's variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli import running
from deployd.cli.context import parse_id
from deployd.cli.release import seconds_of
from deployd.cli.verbs import verb
from deployd.cli.word import after_word
from deployd.domain.ids import EnvironmentName

if TYPE_CHECKING:
    from deployd.cli.context import Cli


@verb(example="deployd promote k2x7 -e staging --to production")
def promote(
    cli: Cli,
    release: Annotated[str, typer.Argument(metavar="RELEASE", help="A release id of --environment, or its last part.")],
    *,
    to: Annotated[str, typer.Option("--to", metavar="ENVIRONMENT", help="Where it is to be live.")],
    message: Annotated[
        str | None, typer.Option("-m", "--message", metavar="TEXT", help="Why; kept with the release.")
    ] = None,
    confirm_within: Annotated[
        str | None,
        typer.Option("--confirm-within", metavar="T", help="Go back by itself unless `deployd confirm` comes: 20m."),
    ] = None,
    during_freeze: Annotated[
        bool, typer.Option("--during-freeze", help="Release although the environment is frozen.")
    ] = False,
) -> int:
    """Bring a release live in another environment: nothing is built, and the variables are the other environment's."""
    target = cli.app.environment(parse_id(EnvironmentName.parse, to, flag="--to"))
    found = cli.release_id(release)
    from deployd.rollouts.wishes import PromoteWish

    wish = PromoteWish(
        app=cli.app.name,
        environment=target.name,
        release=found,
        hosts=cli.hosts(target.hosts),
        options=target.options,
        message=message,
        timeout=cli.settings.get("timeout"),
        confirm_within=seconds_of(confirm_within, flag="--confirm-within") if confirm_within else None,
        during_freeze=during_freeze,
    )
    result = running.run(
        cli,
        lambda report, cancel: cli.client.promote(wish, report=report, cancel=cancel),
        question="Cancel this release? What is live stays live.",
    )
    return after_word(cli, result, asked=confirm_within is not None)
