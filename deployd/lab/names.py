"""Names and addresses: a lab's name and number come in; the names of all that it makes on the machine go out. Pure."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

DEFAULT = "default"
MAX_HOSTS = 200
_NETWORK = "10.201"
_LAST_NUMBER = 254
_LAB = re.compile(r"[a-z](?:[a-z0-9-]{0,22}[a-z0-9])?")
_SIZE = re.compile(r"([1-9][0-9]{0,9})([KMGT]?)", re.IGNORECASE)


def check_lab(name: str) -> str:
    """Return `name` if it can be a lab's; raises ValueError that states the rule."""
    if not _LAB.fullmatch(name):
        msg = f"{name!r} is not a valid lab name: use a-z, 0-9 and '-', begin with a letter, at most 24 characters"
        raise ValueError(msg)
    return name


def parse_size(text: str) -> int:
    """`300M` or `2G` as bytes; raises ValueError that states the rule."""
    found = _SIZE.fullmatch(text)
    if not found:
        msg = f"{text!r} is not a size: write a number and K, M, G or T, for example 500M"
        raise ValueError(msg)
    power = " KMGT".index(found[2].upper() or " ")
    return int(found[1]) << (10 * power)


def host(index: int) -> str:
    """The name of a lab's host number `index`, from 1: `web1`."""
    return f"web{index}"


def machine(lab: str, host_name: str) -> str:
    """What a host is called on this machine: its network namespace, cgroup and nspawn name."""
    return f"dpl-{lab}-{host_name}"


def bridge(number: int) -> str:
    """The bridge that joins the hosts of lab `number`."""
    return f"dpl-{number}"


def veth(number: int, index: int) -> str:
    """This machine's end of a host's cable."""
    return f"dpl-{number}-{index}"


def gateway(number: int) -> str:
    """This machine's address in lab `number`."""
    return f"{_NETWORK}.{number}.1"


def address(number: int, index: int) -> str:
    """The address of host `index` in lab `number`."""
    return f"{_NETWORK}.{number}.{10 + index}"


def mac(number: int, index: int) -> str:
    """A hardware address that stays, so that no neighbour remembers a wrong one after a restart."""
    return f"02:64:70:6c:{number:02x}:{index:02x}"


def subnet(number: int) -> str:
    """The network of lab `number`."""
    return f"{_NETWORK}.{number}.0/24"


def choose_number(lab: str, taken: Collection[int]) -> int | None:
    """A number for a new lab: 0 is the default lab's; others start at a hash of their name, so most return to it."""
    if lab == DEFAULT and 0 not in taken:
        return 0
    start = zlib.crc32(lab.encode()) % _LAST_NUMBER
    for step in range(_LAST_NUMBER):
        number = 1 + (start + step) % _LAST_NUMBER
        if number not in taken:
            return number
    return None


def numbers_in(routes: Collection[str]) -> set[int]:
    """Which numbers the machine's routes (`10.201.7.0/24`, `default`) already use. Wider ones do not count."""
    found = set()
    for route in routes:
        parts = route.split("/")[0].split(".")
        if len(parts) == 4 and ".".join(parts[:2]) == _NETWORK and parts[2].isdigit():  # noqa: PLR2004 - an IPv4 address
            found.add(int(parts[2]))
    return found
