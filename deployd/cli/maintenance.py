"""`deployd maintenance on|off`: visitors get 503 and a page, but for named addresses, until it is off."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli.verbs import Noun
from deployd.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.cli.context import Cli

maintenance = Noun("maintenance", "Turn visitors away for a time, but for some")
_MOST = 2_000_000
_SIX, _SMALLEST = 6, 64


@maintenance.verb("on", example="deployd maintenance on --allow 203.0.113.7 --page maintenance.html")
def on(
    cli: Cli,
    *,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="ADDRESS", help="An IP address or a network that is let in; repeatable."),
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="The HTML page that the others get, in one file.")
    ] = None,
) -> None:
    """Answer visitors with 503 on every host, at once and without a reload; releases go on as usual.

    Saying it again changes addresses and page. `/.deployd/health` says 503 too, so a load balancer looks elsewhere.
    """
    app, environment = cli.where
    addresses = [_address(one) for one in allow or ()]
    text = _page(page) if page is not None else None
    hosts = cli.hosts()
    changed = cli.client.doors.maintenance(app, environment, hosts=hosts, on=True, allow=addresses, page=text)
    many = "" if len(hosts) == 1 else "s"
    done = f"visitors of {app} {environment} get 503 on {len(hosts)} host{many}" + (
        f", but for {', '.join(addresses)}" if addresses else ""
    )
    cli.out.result({"maintenance": True, "allow": addresses, "changed": list(changed)}, done)
    cli.out.next("deployd maintenance off")


@maintenance.verb("off", example="deployd maintenance off")
def off(cli: Cli) -> None:
    """Let visitors in again."""
    app, environment = cli.where
    changed = cli.client.doors.maintenance(app, environment, hosts=cli.hosts(), on=False)
    done = f"visitors of {app} {environment} are let in" if changed else f"{app} {environment} is not in maintenance"
    cli.out.result({"maintenance": False, "allow": [], "changed": list(changed)}, done)


def _address(text: str) -> str:
    address, slash, bits = text.partition("/")
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
        plain = getattr(found, "ipv4_mapped", None) or found  # the web server knows such a visitor by IPv4
        network = ipaddress.ip_network(f"{plain}/{bits}" if slash else str(plain), strict=False)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is neither an IP address nor a network",
            code="usage",
            fix="for example: --allow 203.0.113.7, --allow 203.0.113.0/24 or --allow 2001:db8:1::/48",
        ) from error
    if network.version == _SIX and _SMALLEST < network.prefixlen < network.max_prefixlen:
        raise UsageError(
            f"{network} is a part of somebody's /{_SMALLEST}", code="usage",
            fix=f"name single addresses, or all of it: --allow {network.supernet(new_prefix=_SMALLEST)}",
        )  # fmt: skip
    return str(network.network_address if network.num_addresses == 1 else network)


def _page(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST + 1)  # whatever is named: a pipe, or a device without an end
        text = data[:_MOST].decode(errors="strict" if len(data) <= _MOST else "ignore")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(
            f"{path} cannot be read: {reason}", code="page-unreadable", fix="name an HTML file: --page maintenance.html"
        ) from error
    if len(data) > _MOST:
        raise UsageError(
            f"{path} is larger than {_MOST // 1_000_000} MB", code="page-too-large", fix="put its pictures elsewhere"
        )
    return text
