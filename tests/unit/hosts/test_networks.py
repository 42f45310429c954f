"""Networks in, patterns and names of files out: they know every address of the network in text, and no other one."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployd_host.networks import ADDRESS, MOST_NAMES, names_of, nearby, pattern_of


@st.composite
def networks(draw: st.DrawFn) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Of any size, and those with many zeros as often as the others."""
    if draw(st.booleans()):
        return ipaddress.ip_network((draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 32))), strict=False)
    return ipaddress.ip_network((draw(wide_numbers()), draw(st.integers(0, 128))), strict=False)


@st.composite
def wide_numbers(draw: st.DrawFn) -> int:
    groups = draw(st.lists(st.one_of(st.just(0), st.integers(0, 0xFFFF), st.integers(0, 20)), min_size=8, max_size=8))
    return int("".join(f"{one:04x}" for one in groups), 16)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]:
    """A network, and an address that is in it, near it, or anywhere."""
    network = draw(networks())
    size = network.num_addresses
    if draw(st.booleans()):
        number = int(network.network_address) + draw(st.integers(0, size - 1))
    else:
        zeros = draw(wide_numbers()) if network.version == 6 else draw(st.integers(0, 2**32 - 1))
        number = draw(st.sampled_from([int(network.network_address) - 1, int(network.broadcast_address) + 1, zeros]))
    number %= 2**network.max_prefixlen
    if draw(st.booleans()) and network.version == 6:  # with zeros behind the prefix
        number = int(network.network_address) | (number & draw(st.sampled_from([0, 1, 0xFFFF, 0xFFFF << 64])))
    return network, str(type(network.network_address)(number))


@given(pairs())
def test_a_pattern_knows_the_addresses_of_its_network_and_no_other(
    pair: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str],
) -> None:
    network, address = pair
    inside = ipaddress.ip_address(address) in network
    assert (re.fullmatch(pattern_of([str(network)]), address) is not None) == inside


@pytest.mark.parametrize("text", ["198.51.100.7", "198.51.100.7:4711", "2001:db8::7", "[2001:db8::7]:443", "[::1]"])
def test_an_address_is_read_with_and_without_a_port(text: str) -> None:
    found = re.fullmatch(ADDRESS, text)
    assert found
    assert "".join(one or "" for one in found.groups()) in {"198.51.100.7", "2001:db8::7", "::1"}


def looked_for(address: str) -> set[str]:
    """The names that the web server looks for: what it does with the lines of `nearby`, done here."""
    values = {"vars.wide": "-"}
    kept: dict[str, re.Match[str]] = {}

    def filled(text: str) -> str:
        def value(found: re.Match[str]) -> str:
            _, _, name = found[1].partition(".")
            label, _, group = name.rpartition(".")
            return kept[label][int(group)] if found[1].startswith("re.") else values[found[1]]

        return re.sub(r"\{((?:re|vars)\.[a-z0-9.]+)\}", value, text)

    for line in nearby("VISITOR").splitlines():
        word, *rest = line.split(maxsplit=3)
        if word == "vars" and not rest[0].startswith("@"):
            values[f"vars.{rest[0]}"] = rest[1]
        elif word == "vars":
            if rest[0][1:] in kept:
                name, text = " ".join(rest[1:]).split(maxsplit=1)
                values[f"vars.{name}"] = filled(text)
        else:
            label, what = rest[1], rest[2].split(maxsplit=1)
            found = re.search(what[1].strip("`"), filled(what[0].replace("VISITOR", address)))
            if found:
                kept[label] = found
    return {address, *(values[f"vars.net{number}"] for number in range(1, 5))}


@given(pairs())
def test_who_is_in_a_network_is_found_by_its_names(
    pair: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str],
) -> None:
    network, address = pair
    try:
        names = names_of([str(network)])
    except ValueError:
        assert network.version == 6 or network.prefixlen < 8
        return
    inside = ipaddress.ip_address(address) in network
    if not address.startswith("::"):  # these have no network of their own
        assert bool(looked_for(address) & set(names)) == inside


@pytest.mark.parametrize(
    ("texts", "count"),
    [(["203.0.113.7"], 1), (["203.0.113.0/24"], 1), (["10.0.0.0/8"], 1), (["203.0.113.0/25"], 128),
     (["2001:db8:1::/48"], 1), (["2001:db8:1:200::/56"], 256), (["10.0.0.0/8", "10.0.0.0/8"], 1)],
)  # fmt: skip
def test_how_many_names_a_network_is(texts: list[str], count: int) -> None:
    assert len(names_of(texts)) == count <= MOST_NAMES


@pytest.mark.parametrize("text", ["2001:db8::/65", "2001:db8::/127", "2000::/3", "2001:8000::/17"])
def test_networks_that_are_no_names(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither|large"):
        names_of([text])
