"""Networks come in; patterns, and names of files, by which the web server knows their addresses in text go out.

The web server compares networks with who is connected alone. Who a visitor behind proxies is stands in a header, and
who is let in changes without a reload: both are text. Addresses are written as everybody writes them (RFC 5952): in
lower case, without leading zeros, and with `::` for the longest row of at least two zeros.
"""

from __future__ import annotations

import ipaddress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_NAMES = 4096
_OCTET = "[0-9]{1,3}"
_GROUP = "[0-9a-f]{1,4}"
_GROUPS = 8
_SIX = 6
_SMALLEST = 64  # the longest prefix of IPv6 that files are named by

# An address as proxies write it, with or without a port; it is in the first, the second or the third group.
ADDRESS = (
    r"(?:([0-9]{1,3}(?:\.[0-9]{1,3}){3})(?::[0-9]{1,5})?"
    r"|\[([0-9A-Fa-f]*:[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?"
    r"|([0-9A-Fa-f]*:[0-9A-Fa-f:.]+))"
)


def pattern_of(networks: Sequence[str]) -> str:
    """What matches the text of every address in these networks, and of no other one."""
    found = [one for text in networks for one in _patterns(ipaddress.ip_network(text, strict=False))]
    return f"(?:{'|'.join(found)})"


def _patterns(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> list[str]:
    if isinstance(network, ipaddress.IPv6Network):
        return _wide_patterns(network)
    whole, bits = divmod(network.prefixlen, 8)
    octets = [str(one) for one in network.network_address.packed]
    parts = octets[:whole]
    if bits:
        first = int(octets[whole])
        parts.append(f"(?:{'|'.join(str(one) for one in range(first, first + (1 << (8 - bits))))})")
    parts += [_OCTET] * (4 - len(parts))
    return [r"\.".join(parts) + "(?::[0-9]{1,5})?"]


def _wide_patterns(network: ipaddress.IPv6Network) -> list[str]:
    """IPv6: one pattern for each way in which the beginning may be written."""
    whole, bits = divmod(network.prefixlen, 16)
    groups = [int.from_bytes(network.network_address.packed[at : at + 2], "big") for at in range(0, 16, 2)]
    fixed = [f"{one:x}" for one in groups[:whole]]
    if not bits:
        return _beginnings(fixed)
    first, free = groups[whole], 16 - bits
    found = _beginnings([*fixed, _span(first, free)])
    return found if first else [*found, *_beginnings([*fixed, "0"])]


def _span(first: int, free: int) -> str:
    """The texts of the groups whose last `free` bits are any, but for 0."""
    digits, bits = divmod(free, 4)
    heads = range(first >> 4 * digits, (first >> 4 * digits) + (1 << bits))
    found = [f"{one:x}[0-9a-f]{{{digits}}}" for one in heads if one]
    if 0 in heads and digits:
        found.append(f"[1-9a-f][0-9a-f]{{0,{digits - 1}}}")
    return f"(?:{'|'.join(found)})"


def _beginnings(fixed: Sequence[str]) -> list[str]:
    """Addresses that begin with these groups: as they are, and with `::` for each row of zeros among them."""
    rest = _GROUPS - len(fixed)
    begin = "".join(f"{one}:" for one in fixed)
    found = [f"{begin or '(?:[0-9a-f]{1,4})?:'}[0-9a-f:.]*" if rest else ":".join(fixed)]
    at = 0
    while at < len(fixed):
        end = at
        while end < len(fixed) and fixed[end] == "0":
            end += 1
        before = ":".join(fixed[:at])
        if end == len(fixed) > at:  # the row may go on
            found.append(f"{before}::{f'(?:{_GROUP}(?::{_GROUP}){{0,{rest - 1}}})?' if rest else ''}")
        elif end > at + 1:
            found.append(f"{before}::{':'.join([*fixed[end:], *[_GROUP] * rest])}")
        at = max(end, at) + 1
    return found


def names_of(networks: Sequence[str]) -> list[str]:
    """Names of files: the addresses in these networks, or `net-` and how they begin (`nearby` finds those).

    Raises ValueError for too large a network, and for one of IPv6 between a /64 and a single address.
    """
    found: dict[str, None] = {}
    for text in networks:
        found.update(dict.fromkeys(_names(ipaddress.ip_network(text, strict=False))))
    if len(found) > MOST_NAMES:
        raise ValueError("these networks are too large")
    return list(found)


def _names(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> list[str]:
    wide = network.version == _SIX
    if network.prefixlen == network.max_prefixlen:
        return [str(network.network_address)]
    if wide and network.prefixlen > _SMALLEST:
        raise ValueError(f"{network} is neither a single address nor as large as a /{_SMALLEST}")
    step = 16 if wide else 8
    count = max(1, -(-network.prefixlen // step))
    length = count * step
    if 1 << (length - network.prefixlen) > MOST_NAMES:
        raise ValueError(f"{network} is too large")
    parts = [one.network_address for one in network.subnets(new_prefix=length)]
    if length == network.max_prefixlen:
        return [str(one) for one in parts]
    if wide:
        groups = [one.exploded.split(":")[:count] for one in parts]
        return ["net-" + ":".join(f"{int(text, 16):x}" for text in one) for one in groups]
    return ["net-" + ".".join(str(one).split(".")[:count]) for one in parts]


def nearby(visitor: str) -> str:
    """What sets `vars.net1` to `vars.net4` to the names of the visitor's networks, or to `-`."""
    g, n = f"({_GROUP})", f"({_OCTET})"
    ways = (
        ("full", f"^{g}:{g}:{g}:{g}:", "{re.full.1}:{re.full.2}:{re.full.3}:{re.full.4}"),
        ("three", f"^{g}:{g}:{g}::", "{re.three.1}:{re.three.2}:{re.three.3}:0"),
        ("two", f"^{g}:{g}::", "{re.two.1}:{re.two.2}:0:0"),
        ("one", f"^{g}::", "{re.one.1}:0:0:0"),
        ("late", f"^{g}::{g}(?::{_GROUP}){{4}}$", "{re.late.1}:0:0:{re.late.2}"),
    )
    lines = ["vars wide -", *[f"vars net{number} -" for number in range(1, 5)]]
    for name, pattern, value in ways:
        lines += [f"@{name} vars_regexp {name} {visitor} `{pattern}`", f"vars @{name} wide {value}"]
    lines += [
        f"@sixth vars_regexp sixth {{vars.wide}} `^((({_GROUP}):{_GROUP}):{_GROUP}):{_GROUP}$`",
        "vars @sixth net4 net-{vars.wide}",
        *[f"vars @sixth net{4 - number} net-{{re.sixth.{number}}}" for number in (1, 2, 3)],
        rf"@fourth vars_regexp fourth {visitor} `^(({n}\.{_OCTET})\.{_OCTET})\.{_OCTET}$`",
        *[f"vars @fourth net{4 - number} net-{{re.fourth.{number}}}" for number in (1, 2, 3)],
    ]
    return "".join(f"\t\t{line}\n" for line in lines)
