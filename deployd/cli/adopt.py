"""`deployd adopt`: what runs on the hosts becomes known to a new state folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployd.cli.host import NAMES, chosen_hosts
from deployd.cli.verbs import verb
from deployd.errors import UnreachableError, on_host

if TYPE_CHECKING:
    from deployd.cli.context import Cli


@verb(example="deployd adopt")
def adopt(cli: Cli, names: NAMES = None) -> int:
    """Learn apps, environments, releases and what is live from the hosts: when the state folder is new.

    Changes nothing on a host. What is known already stays as it is. Afterwards `status` and `rollback` work as before;
    variables are not on the hosts in a form that comes back: set them again before the next release.

    Exits with 6 when a host could not be asked.
    """
    found = cli.client.servers.adopt(chosen_hosts(cli, names))
    adopted = [one for one in found["places"] if one["state"] == "adopted"]
    if cli.options.json:
        cli.out.document(found)
    else:
        _draw(cli, found)
    for name, error in found["errors"].items():
        cli.out.warn(f"{on_host(name, error['what'])}; {error['fix']}")
    if adopted and not cli.options.json:
        cli.out.next("deployd env import FILE", "deployd app add NAME --repository URL", "deployd status")
    return UnreachableError.exit_code if found["errors"] else 0


def _draw(cli: Cli, found: dict[str, Any]) -> None:
    if not found["places"]:
        cli.out.line("the hosts have no apps")
        return
    cli.out.table(
        ("APP", "ENVIRONMENT", "", "LIVE", "RELEASES", "HOSTS"),
        [
            (
                cli.out.paint(one["app"], "bold"),
                one["environment"],
                one["state"],
                cli.out.paint("the hosts differ", "red") if one["mixed"] else one["release"] or "-",
                str(one["releases"]),
                ", ".join(one["hosts"]),
            )
            for one in found["places"]
        ],
    )
    for one in found["places"]:
        if one["unreadable"]:
            where = f"{one['app']} {one['environment']}"
            cli.out.warn(f"{where}: {', '.join(one['unreadable'])} do not say where they come from; they were left out")
