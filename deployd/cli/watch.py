"""`deployd watch`: the live view of a rollout that another process runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli import running
from deployd.cli.outcome import conclude
from deployd.cli.verbs import verb
from deployd.errors import CancelledError, NotFoundError

if TYPE_CHECKING:
    from deployd.cli.context import Cli
    from deployd.domain.ids import RolloutId


@verb(example="deployd watch")
def watch(
    cli: Cli,
    rollout: Annotated[
        str | None,
        typer.Argument(metavar="[ROLLOUT]", help="A rollout's id. [default: the environment's running or last one]"),
    ] = None,
) -> int:
    """Watch a rollout until its end, whoever runs it. Leaving (Ctrl-C) does not stop it.

    Exits as the rollout itself does. With --json its events, one a line.
    """
    wanted = cli.rollout_id(rollout) if rollout else _newest(cli)
    try:
        result = running.run(
            cli,
            lambda report, cancel: cli.client.follow(wanted, report=report, cancel=cancel),
            question="Leave? The rollout goes on.",
            only_tells=True,
        )
    except CancelledError as error:
        if error.code != "left":
            raise
        cli.out.note(f"{wanted} goes on; `deployd cancel {wanted}` would stop it")
        return 0
    return conclude(cli, result)


def _newest(cli: Cli) -> RolloutId:
    app, environment = cli.where
    found = cli.client.rollouts(app, environment, limit=20)
    chosen = next((one for one in found if one.finished is None), found[0] if found else None)
    if chosen is None:
        raise NotFoundError(
            f"nothing was rolled out to {app} {environment} yet", code="nothing-runs", fix="deployd release"
        )
    return chosen.id
