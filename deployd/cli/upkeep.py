"""`deployd restart` and `deployd prune`: the live release's processes, and releases that are kept no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.cli.live import PlainView, View
from deployd.cli.verbs import verb
from deployd.domain.quantity import format_size

if TYPE_CHECKING:
    from deployd.cli.context import Cli


@verb(example="deployd restart --host web1")
def restart(cli: Cli) -> None:
    """Restart the live release, one process at a time, waiting for each to answer again."""
    app, environment = cli.where
    hosts = cli.hosts()
    with _quiet_view(cli) as report:
        cli.client.restart(app, environment, hosts=hosts, report=report)
    names = [str(host) for host in hosts]
    cli.out.result({"restarted": names}, f"restarted on {', '.join(names)}")


@verb(example="deployd prune")
def prune(cli: Cli) -> int:
    """Remove releases that are kept no longer. What is current, in use, or the last good one always stays."""
    app, environment = cli.where
    hosts, options = cli.hosts(), cli.app_environment.options
    with _quiet_view(cli) as report:
        results = cli.client.prune(app, environment, hosts=hosts, options=options, report=report)
    removed = {release for result in results for release in result.removed}
    freed = sum(result.freed_bytes for result in results)
    many = "" if len(removed) == 1 else "s"
    text = f"{len(removed)} release{many} removed, {format_size(freed)} freed" if removed else "nothing to remove"
    cli.out.result({"hosts": [result.to_json() for result in results]}, text)
    for result in results:
        if result.error:
            cli.out.warn(f"{result.host}: {result.error.get('what')}; {result.error.get('fix')}")
    return 1 if any(result.error for result in results) else 0


def _quiet_view(cli: Cli) -> View:
    return View() if cli.options.json else PlainView(cli.out)
