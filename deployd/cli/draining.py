"""`deployd host drain` and `undrain`: hosts come in; what they told, and what is open still, goes out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from deployd.domain.quantity import format_duration
from deployd.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.cli.context import Cli
    from deployd.domain.host import Host
    from deployd.domain.ids import AppName, EnvironmentName

    Place = tuple[AppName, EnvironmentName] | None

_LOOK = 1.0  # seconds between two looks


def drain(cli: Cli, hosts: Sequence[Host], place: Place, *, wait: float, timeout: float) -> int:
    """Drain hosts, then wait until nothing is open there; 1 when something still is after `timeout` seconds."""
    found = _ask(cli, hosts, place, on=True)
    what = _what(place)
    cli.out.note(f"{_names(found)}: load balancers are told to leave {what} alone")
    began = time.monotonic()
    # Before the load balancer has noticed, that nothing is open says nothing.
    time.sleep(min(wait, timeout))
    while True:
        found = _ask(cli, hosts, place, on=None)
        busy = {str(one["host"]): int(one["open"]) for one in found if one["open"]}
        if not busy or time.monotonic() - began >= timeout:
            break
        time.sleep(_LOOK)
    took = format_duration(time.monotonic() - began)
    told = ", ".join(f"{count} on {host}" for host, count in busy.items())
    if busy:
        cli.out.result(
            {"hosts": found, "open": sum(busy.values())},
            f"{_names(found)}: drained, and after {took} these requests are open still: {told}",
        )
    else:
        cli.out.result({"hosts": found, "open": 0}, f"{_names(found)}: drained, nothing is open after {took}")
    cli.out.next(f"deployd host undrain {' '.join(str(host.name) for host in hosts)}")
    return 1 if busy else 0


def undrain(cli: Cli, hosts: Sequence[Host], place: Place) -> int:
    """Give hosts back to load balancers; says what else keeps one out."""
    found = _ask(cli, hosts, place, on=False)
    cli.out.result({"hosts": found}, f"{_names(found)}: load balancers are told that {_what(place)} can be asked again")
    for one in found:
        if "host" in one["drained"]:
            cli.out.warn(f"{one['host']} is drained as a whole: deployd host undrain {one['host']}")
    return 0


def drained_here(found: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    """For `status`: which hosts are left alone by load balancers; "" for none."""
    whole = [name for name, why in found if "host" in why]
    app = [name for name, why in found if why and "host" not in why]
    told = [
        f"{', '.join(names)}{of}: load balancers are told to leave {them} alone"
        for names, of, them in ((whole, "", "them" if len(whole) > 1 else "it"), (app, " (this app)", "it"))
        if names
    ]
    return "; ".join(told) + ("; `deployd host undrain` ends it" if told else "")


def _ask(cli: Cli, hosts: Sequence[Host], place: Place, *, on: bool | None) -> list[dict[str, Any]]:
    found = cli.client.servers.drain(hosts, place, on=on)
    failed = next((one for one in found if one.get("error")), None)
    if failed:
        told = failed["error"]
        raise HostError(
            str(told["what"]),
            code=str(told["code"]),
            host=str(failed["host"]),
            live="what was live still is; other hosts may be drained already",
            fix=str(told.get("fix") or "deployd host check"),
        )
    return found


def _names(found: Sequence[dict[str, Any]]) -> str:
    return ", ".join(str(one["host"]) for one in found)


def _what(place: Place) -> str:
    return f"{place[0]} {place[1]}" if place else "it"
