"""`deployd rollouts`, `resume`, `cancel`, `unlock`: what was done, and what to do with what was interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli import running
from deployd.cli.outcome import conclude_all
from deployd.cli.render import clean
from deployd.cli.status import ago
from deployd.cli.story import why
from deployd.cli.verbs import verb

if TYPE_CHECKING:
    from deployd.cli.context import Cli

_STYLES = {"live": "green", "prepared": "green", "failed": "red", "partly_live": "red", "cancelled": "yellow"}


@verb(example="deployd rollouts")
def rollouts(
    cli: Cli, *, count: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=1, help="How many.")] = 20
) -> None:
    """List releases and rollbacks as they were done: by whom, when, and how each ended."""
    app, environment = cli.where
    found = cli.client.rollouts(app, environment, limit=count)
    waiting = cli.client.waiting(app, environment)
    if cli.options.json:
        cli.out.document([*waiting[::-1], *(rollout.to_json() for rollout in found)])
        return
    if not found and not waiting:
        cli.out.line(f"nothing was rolled out to {app} {environment} yet")
        return
    cli.out.table(
        ("ROLLOUT", "WHAT", "RELEASE", "STATE", "BEGAN", "BY", "WHY"),
        [
            (
                one["id"],
                one["kind"],
                "-",
                cli.out.paint("waiting", "cyan"),
                ago(one["created"]),
                clean(one["who"]),
                clean(one["reason"] or ""),
            )
            for one in waiting[::-1]
        ]
        + [
            (
                str(row.id),
                row.kind,
                str(row.release or "-"),
                cli.out.paint(row.outcome or row.state, _STYLES.get(row.outcome or "", "cyan")),
                ago(row.created),
                clean(row.who),
                clean(why(row.error)),
            )
            for row in found
        ],
    )


@verb(example="deployd resume")
def resume(cli: Cli) -> int:
    """Finish what was interrupted: each unfinished rollout ends live, or with the old release untouched."""
    results = running.run(
        cli,
        lambda report, cancel: cli.client.resume(report=report, cancel=cancel),
        question="Cancel what is being resumed? It is turned back then.",
    )
    if not results:
        cli.out.line("nothing was interrupted")
    return conclude_all(cli, results)


@verb(example="deployd cancel")
def cancel(
    cli: Cli,
    rollout: Annotated[
        str | None, typer.Argument(metavar="[ROLLOUT]", help="A rollout's id. [default: the environment's running one]")
    ] = None,
) -> None:
    """Cancel a running rollout, from another terminal too. What it started is turned back."""
    wanted = (cli.rollout_id(rollout),) if rollout else (None, *cli.where)
    cancelled = cli.client.cancel(*wanted)
    cli.out.result({"rollout": cancelled}, f"{cancelled} is being cancelled: it turns back what it started")
    cli.out.next("deployd status")


@verb(example="deployd unlock --host web1")
def unlock(cli: Cli) -> None:
    """Take the lock of the app on its hosts; says who holds it and since when, and asks.

    Only for a holder that is gone and whose connection still hangs: a rollout that still runs is fenced off and fails.
    """
    app, environment = cli.where
    hosts = cli.hosts()
    held = [lock for lock in cli.client.locks(app, environment, hosts=hosts) if lock.held]
    if not held:
        cli.out.result({"unlocked": []}, "nobody holds the lock")
        return
    for lock in held:
        since = f", taken {ago(lock.since)}" if lock.since else ""
        cli.out.note(
            f"{lock.host}: held by {clean(lock.owner or 'somebody')}{since}, for {lock.rollout or 'a rollout'}"
        )
    cli.confirm("Take the lock from them?")
    names = tuple(lock.host for lock in held)
    cli.client.unlock(app, environment, hosts=names)
    cli.out.result({"unlocked": [lock.to_json() for lock in held]}, f"unlocked on {', '.join(names)}")
