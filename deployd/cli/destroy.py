"""`deployd destroy`: an app in an environment comes off its hosts; what goes and what stays is said first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployd.cli.live import PlainView, View
from deployd.cli.render import clean
from deployd.cli.verbs import verb
from deployd.domain.quantity import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.cli.context import Cli
    from deployd.domain.ids import HostName


@verb(example="deployd destroy -e staging --plan")
def destroy(
    cli: Cli,
    *,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would go and what would stay; change nothing.")
    ] = False,
    data: Annotated[
        bool, typer.Option("--data", help="Also forget its variables. They stay here otherwise, encrypted.")
    ] = False,
) -> int:
    """Take the app off its hosts: its processes, its site, its releases, their variables and caches there.

    Its domains and ports are free then. Records, artifacts and build logs stay with deployd, and variables unless
    --data is given: `deployd release` brings it back. `--host` may name a host that deployd.toml has no more. Refused
    while a rollout runs.
    """
    app, environment = cli.where
    hosts = _hosts(cli)
    everywhere = set(hosts) >= set(cli.app_environment.hosts)
    found = cli.client.servers.presence(app, environment, hosts)
    stays = _stays(cli, hosts, everywhere=everywhere, data=data)
    if plan:
        cli.out.result(
            {"hosts": found, "stays": stays}, f"would be taken off {_names(found) or 'no host: nothing is there'}"
        )
        _tell(cli, found, stays)
        return 1 if any(one["error"] for one in found) else 0
    there = _names(found)
    if not cli.options.yes and not cli.options.json:
        _tell(cli, found, stays)
    cli.confirm(f"Take {app} {environment} off {there or _all(hosts)}?")
    with View() if cli.options.json else PlainView(cli.out) as report:
        done = cli.client.servers.destroy(
            app,
            environment,
            hosts,
            options=cli.app_environment.options,
            everywhere=everywhere,
            variables=data,
            report=report,
        )
    went = [one for one in done["hosts"] if one["removed"]]
    failed = [one for one in done["hosts"] if one["error"]]
    freed = format_size(sum(one["freed_bytes"] for one in went))
    text = (
        f"{app} {environment} is off {_all(one['host'] for one in went)}, {freed} freed"
        if went
        else "nothing was there"
    )
    cli.out.result({**done, "stays": stays}, text)
    if not cli.options.json:
        for line in _more(done):
            cli.out.line(line)
    for one in failed:
        cli.out.warn(f"{one['host']}: {one['error'].get('what')}; {one['error'].get('fix')}")
    return 1 if failed else 0


def _hosts(cli: Cli) -> tuple[HostName, ...]:
    """The environment's hosts; `--host` may also name one that deployd.toml has no more."""
    own = cli.app_environment.hosts
    if not cli.options.hosts:
        return cli.hosts()
    return cli.hosts([*own, *(host.name for host in cli.client.hosts() if host.name not in own)])


def _names(found: list[dict[str, Any]]) -> str:
    return _all(one["host"] for one in found if one["configured"] or one["releases"])


def _all(names: Any) -> str:
    return ", ".join(str(name) for name in names)


def _tell(cli: Cli, found: list[dict[str, Any]], stays: list[str]) -> None:
    if cli.options.json:
        return
    rows = [
        (
            str(one["host"]),
            str(one["live"] or "-"),
            str(one["releases"]),
            format_size(one["bytes"]),
            str(one["processes"]),
            clean(_all(one["addresses"])) or "-",
        )
        for one in found
        if not one["error"]
    ]
    cli.out.table(("HOST", "LIVE", "RELEASES", "SIZE", "PROCESSES", "ADDRESSES"), rows)
    for one in found:
        if one["error"]:
            cli.out.warn(f"{one['host']}: {clean(str(one['error'].get('what')))}")
    for line in stays:
        cli.out.line(f"stays: {line}")


def _stays(cli: Cli, hosts: Sequence[HostName], *, everywhere: bool, data: bool) -> list[str]:
    """What is not taken away, a line each."""
    stays = ["records, artifacts and build logs, with deployd"]
    if not everywhere:
        rest = [host for host in cli.app_environment.hosts if host not in hosts]
        stays.append(f"the app on {_all(rest)}, its schedules and its certificate")
    if not data or not everywhere:
        stays.append("its variables, with deployd (--data forgets them, on all hosts at once)")
    if cli.app_environment.branch:
        stays.append("pushes go on to release it, if the daemon knows the app: see `deployd app remove`, `deployd pin`")
    return stays


def _more(done: dict[str, Any]) -> list[str]:
    lines = [f"schedule {one} is cancelled" for one in done["schedules"]]
    if done["variables"]:
        lines.append(f"forgotten: {', '.join(done['variables'])}")
    return lines
