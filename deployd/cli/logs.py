"""`deployd logs`: the servers' lines from all hosts, merged by time."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli.release import seconds_of
from deployd.cli.render import clean
from deployd.cli.verbs import verb

if TYPE_CHECKING:
    from deployd.cli.context import Cli


@verb(example="deployd logs -n 50 --since 1h")
def logs(
    cli: Cli,
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=0, help="How many lines of each host.")] = 100,
    since: Annotated[str | None, typer.Option("--since", metavar="T", help="Only what is younger: 1h.")] = None,
    release: Annotated[str | None, typer.Option("--release", metavar="ID", help="Of one release only.")] = None,
) -> None:
    """Show the servers' logs, all hosts merged by time, with the host's name in front."""
    app, environment = cli.where
    hosts = cli.hosts()
    younger = f"{math.ceil(seconds_of(since, flag='--since'))}s" if since is not None else None
    names = [str(host) for host in hosts]
    label = max(len(name) for name in names)
    found = cli.client.logs(
        app,
        environment,
        hosts=hosts,
        follow=follow,
        lines=lines,
        since=younger,
        release=cli.release_id(release) if release else None,
    )
    for number, entry in enumerate(found, start=1):
        if cli.options.json:
            event = {"v": 1, "seq": number, "event": "log_line", "time": _iso(entry.time), "rollout": None}
            cli.out.event(event | {name: value for name, value in entry.to_json().items() if name != "time"})
            continue
        head = cli.out.host(entry.host, names)
        pad = " " * (label - len(entry.host))
        cli.out.line(f"{head}{pad} {cli.out.paint(_clock(entry.time), 'dim')} {clean(entry.message)}")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clock(seconds: float) -> str:
    """The time of day on this machine's clock."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%H:%M:%S")
