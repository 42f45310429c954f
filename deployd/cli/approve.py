"""`deployd approve`, `reject`, `approvals`, `confirm`: what waits for a person's word."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli import running
from deployd.cli.render import clean
from deployd.cli.schedule import at_home, local_zone
from deployd.cli.status import ago
from deployd.cli.verbs import verb
from deployd.cli.word import after_word

if TYPE_CHECKING:
    from deployd.cli.context import Cli

Rollout = Annotated[
    str | None,
    typer.Argument(metavar="[ROLLOUT]", help="The rollout that waits. [default: the environment's newest one]"),
]
Waiting = Annotated[
    str | None,
    typer.Argument(
        metavar="[ROLLOUT|pull/N]",
        help="The rollout, or a fork's pull request, that waits. [default: the environment's newest rollout]",
    ),
]
_PULL = re.compile(r"pull/([1-9][0-9]{0,8})")


@verb(example="deployd approve")
def approve(
    cli: Cli,
    rollout: Waiting = None,
    *,
    during_freeze: Annotated[bool, typer.Option("--during-freeze", help="Although the environment is frozen.")] = False,
) -> int:
    """Say yes to a release that is prepared: it goes live, by one flip. Who said so is kept.

    Environments ask for it by `approval = true` in deployd.toml; with `approval = "other"` whoever asked for the
    release cannot approve it. `pull/12` is a fork's pull request: its preview is built, at the commit it has now.
    """
    pull = _PULL.fullmatch(rollout or "")
    if pull:
        return _pull(cli, int(pull[1]))
    app, environment = cli.where
    wanted = cli.rollout_id(rollout) if rollout else None
    result = running.run(
        cli,
        lambda report, cancel: cli.client.agenda.approve(
            wanted, app, environment, during_freeze=during_freeze, report=report, cancel=cancel
        ),
        question="Cancel this? What is live stays live.",
    )
    return after_word(cli, result)


def _pull(cli: Cli, number: int) -> int:
    """A fork's pull request: it is built, and its commit alone."""
    made = cli.daemon.pushes.approve_preview(cli.app.name, number)
    cli.out.result({"rollout": made}, f"pull request {number} is being prepared by {made}")
    cli.out.next(f"deployd watch {made}")
    return 0


@verb(example='deployd reject --reason "the numbers are wrong"')
def reject(
    cli: Cli,
    rollout: Rollout = None,
    *,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; it is kept.")] = None,
) -> None:
    """Say no to a release that is prepared: what is live stays live."""
    app, environment = cli.where
    found = cli.client.agenda.reject(cli.rollout_id(rollout) if rollout else None, app, environment, reason=reason)
    cli.out.result(found, f"{found['release']} is rejected; what is live stays live")


@verb(example="deployd approvals")
def approvals(
    cli: Cli, *, every: Annotated[bool, typer.Option("--all", help="Those that were decided too.")] = False
) -> None:
    """List the releases that are prepared and wait for a yes (with no -e in all environments)."""
    environment = cli.environment if cli.options.environment else None
    found = cli.client.agenda.approvals(cli.app.name, environment, every=every)
    if cli.options.json:
        cli.out.document(found)
        return
    held = cli.daemon.pushes.previews(cli.app.name) if cli.client.agenda.fires else []
    forks = [f"deployd approve pull/{one['number']}" for one in held if one["state"] == "held"]
    if not found:
        cli.out.line("a fork's pull request waits for an approval" if forks else "nothing waits for an approval")
        cli.out.next(*forks)
        return
    zone = local_zone()
    cli.out.table(
        ("ROLLOUT", "RELEASE", "WHERE", "STATE", "ASKED BY", "ASKED", "UNTIL", "DECIDED BY"),
        [
            (
                one["rollout"],
                one["release"],
                one["environment"],
                one["state"],
                clean(one["asked_by"]),
                ago(one["created"]),
                at_home(one["until"], zone),
                clean(one["decided_by"] or ""),
            )
            for one in found
        ],
    )
    cli.out.next(*forks)


@verb(example="deployd confirm")
def confirm(cli: Cli, rollout: Rollout = None) -> None:
    """Keep what is live: a release made with --confirm-within goes back by itself unless this comes in time."""
    app, environment = cli.where
    found = cli.client.agenda.confirm(cli.rollout_id(rollout) if rollout else None, app, environment)
    cli.out.result(found, f"{found['rollout']} is confirmed: it stays live")
    cli.out.next("deployd status")
