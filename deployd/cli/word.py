"""After a release went live: it stays, or waits for a person's word and goes back when none comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.cli import running
from deployd.cli.outcome import conclude

if TYPE_CHECKING:
    from deployd.cli.context import Cli
    from deployd.rollouts.wishes import RolloutResult


def after_word(cli: Cli, result: RolloutResult, *, asked: bool = True) -> int:
    """Conclude a release. One that goes back unless it is confirmed (if that was `asked` for) is watched by the daemon,
    or else by this command.
    """
    code = conclude(cli, result)
    if not asked or result.outcome != "live" or cli.client.agenda.fires:
        return code
    if not cli.client.is_unconfirmed(result.rollout):
        return code
    cli.out.warn(
        "no daemon runs on this state folder: this command stays, and goes back unless `deployd confirm` comes"
    )
    back = running.run(
        cli,
        lambda report, cancel: cli.client.agenda.guard(result.rollout, report=report, cancel=cancel),
        question="Leave? Nothing goes back then until a daemon runs.",
    )
    if back is None:
        if cli.client.is_unconfirmed(result.rollout):
            cli.out.warn("left: nothing goes back until `deployd serve` runs; `deployd confirm` keeps the release")
        else:
            cli.out.note(f"{result.release} stays live")
        return code
    conclude(cli, back, verb="back")
    cli.out.warn(f"nobody confirmed {result.release} in time: it was rolled back, and is marked bad")
    return 1
