"""Names, https and certificates on real servers: an authority really asks them, over http and over TLS, any of them."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from deployd import lab
from tests.lab.conftest import hosts_lab
from tests.support.authority import UNUSED, Authority
from tests.support.certificates import made_certificate
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def authorities(bootstrapped: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Authority]]:
    """`authorities(http=..., tls=..., seconds=...)` starts one that the lab's hosts can reach."""
    address = bootstrapped[1][0].address.rpartition(".")[0] + ".1"
    started: list[Authority] = []

    def start(**wishes: int) -> Authority:
        made = Authority(tmp_path_factory.mktemp("authority"), address, **wishes)
        started.append(made)
        return made.start()

    yield start
    for one in started:
        one.close()


def describe(world: World, text: str, **wishes: Any) -> None:
    """The app's file, with these lines for its environment."""
    world.write_toml(**wishes)
    with (world.app / "deployd.toml").open("a") as file:
        file.write(text)


@dataclass
class Seen:
    """What one host shows a visitor of a name."""

    status: int
    text: str
    serial: str
    protocol: str | None
    headers: dict[str, str] = field(default_factory=dict)


def visit(world: World, name: str, *, trusting: str, host: int = 0, path: str = "/", timeout: float = 30) -> Seen:
    context = ssl.create_default_context(cafile=trusting)
    context.set_alpn_protocols(["http/1.1"])
    connection = http.client.HTTPConnection(name, timeout=timeout)
    with (
        socket.create_connection((world.hosts[host].address, 443), timeout) as raw,
        closing(context.wrap_socket(raw, server_hostname=name)) as secured,
        closing(connection),
    ):
        connection.sock = secured
        connection.request("GET", path, headers={"Host": name})
        answer = connection.getresponse()
        shown: Any = secured.getpeercert()
        return Seen(
            answer.status, answer.read().decode().strip(), shown["serialNumber"], protocol(world, name, host),
            {key.lower(): value for key, value in answer.getheaders()},
        )  # fmt: skip


def protocol(world: World, name: str, host: int) -> str | None:
    """What a browser would speak."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection((world.hosts[host].address, 443), 30) as raw,
        context.wrap_socket(raw, server_hostname=name) as secured,
    ):
        return secured.selected_alpn_protocol()


def visit_once_it_is_certified(world: World, name: str, *, trusting: str, unlike: str = "") -> Seen:
    """Wait for a certificate of that authority, with another serial number than `unlike`."""
    deadline = time.monotonic() + 60
    while True:
        try:
            seen = visit(world, name, trusting=trusting)
        except ssl.SSLError:
            seen = None
        if seen and seen.serial != unlike:
            return seen
        assert time.monotonic() < deadline, lab.run(
            hosts_lab(world.hosts), world.hosts[0].name, ["journalctl", "-u", "deployd-web", "-n", "30", "--no-pager"]
        ).text
        time.sleep(0.2)


def kill_web(world: World) -> None:
    """The first host's web server ends at once; systemd brings it back."""
    lab.run(hosts_lab(world.hosts), world.hosts[0].name, ["systemctl", "kill", "-s", "KILL", "deployd-web.service"])


def findings(world: World, *words: str, check: int | None = 0) -> list[dict[str, Any]]:
    return world.run("domain", "check", "--json", *words, check=check).document


def wrong(found: list[dict[str, Any]]) -> list[str]:
    return [f"{one['name']} {one['host']}: {one['what']}" for one in found if one["level"] != "ok"]


def test_one_host_asks_the_authority_itself(world: World, authorities: Callable[..., Authority]) -> None:
    """By http, then another one by TLS on port 443; previews when they are asked for; a short life is renewed."""
    name, first = f"{world.name}.test", world.hosts[0]
    plain, secure = authorities(tls=UNUSED), authorities(http=UNUSED, seconds=24)
    for one in (plain, secure):
        one.lead(name, [first.address])
        one.lead(f"www.{name}", [first.address])
    domains = f'domains = ["{name}", {{ name = "www.{name}", redirect = "{name}" }}]\ntls = "acme"\nhsts = "1h"\n'

    def by(authority: Authority) -> None:
        acme = f'acme_directory = "{authority.directory}"\nacme_ca_root = "{authority.root}"\n'
        describe(world, domains + acme + 'preview_domain = "preview.test"\n', hosts=[first.name])

    by(plain)
    release = world.release("1").last["release"]
    seen = visit_once_it_is_certified(world, name, trusting=plain.trusted())
    assert (seen.status, seen.text, seen.protocol) == (200, "version 1", "h2")
    assert seen.headers["strict-transport-security"] == "max-age=3600"
    assert seen.headers["alt-svc"].startswith('h3=":443"')
    visit_once_it_is_certified(world, f"www.{name}", trusting=plain.trusted())
    resolve = [f"--resolve={one}={first.address}" for one in (name, f"www.{name}")]
    assert wrong(findings(world, *resolve, "--ca", plain.trusted())) == []
    assert "validate w/ HTTP" in plain.log

    preview, made_up = (
        f"{release}.{world.name}.preview.test",
        f"{release[:-1]}{'1' if release[-1] == '0' else '0'}.{world.name}.preview.test",
    )
    for one in (preview, made_up):
        plain.lead(one, [first.address])
    assert visit(world, preview, trusting=plain.trusted()).text == "version 1"
    with pytest.raises(ssl.SSLError):
        visit(world, made_up, trusting=plain.trusted())
    assert plain.log.count(made_up) == 0

    by(secure)
    world.release("2")
    short = visit_once_it_is_certified(world, name, trusting=secure.trusted())
    began = time.monotonic()
    time.sleep(max(0.0, 17 - (time.monotonic() - began)))  # a third of its time is left then
    kill_web(world)
    renewed = visit_once_it_is_certified(world, name, trusting=secure.trusted(), unlike=short.serial)
    assert renewed.text == "version 2"


def test_several_hosts_share_one_certificate(world: World, authorities: Callable[..., Authority]) -> None:
    """The authority asks any of them, and the wildcard over DNS; without the authority everything goes on."""
    name, addresses = f"{world.name}.test", [host.address for host in world.hosts]
    authority = authorities(tls=UNUSED)
    for one in (name, f"www.{name}"):
        authority.lead(one, addresses)
    world.env["DEPLOYD_ACME_DNS"] = authority.dns_command()
    describe(
        world,
        f'domains = ["{name}", "*.{name}", {{ name = "www.{name}", redirect = "{name}" }}]\ntls = "acme"\n'
        f'acme_directory = "{authority.directory}"\nacme_ca_root = "{authority.root}"\n',
    )

    told = world.release("1")

    assert not [one for one in told.events if one["event"] == "warning"]
    trusted = authority.trusted()

    def serials(path: str = "/") -> set[str]:
        return {
            visit(world, one, trusting=trusted, host=n, path=path).serial
            for n in range(2)
            for one in (name, f"a.{name}", f"www.{name}")
        }

    shared = serials()
    assert len(shared) == 1
    assert visit(world, f"b.{name}", trusting=trusted, host=1).text == "version 1"
    resolve = [f"--resolve={one}={address}" for one in (name, f"*.{name}", f"www.{name}") for address in addresses]
    assert wrong(findings(world, *resolve, "--ca", trusted)) == []
    kept = world.run("domain", "renew", "--json").document["certificates"]
    assert [(one["hosts"], one["problem"]) for one in kept] == [([host.name for host in world.hosts], None)]
    assert serials() == shared
    world.run("domain", "renew", "--force", "--json")
    renewed = serials()
    assert len(renewed) == 1
    assert renewed != shared
    with ThreadPoolExecutor(4) as threads:
        kill_web(world)
        waiting = [threads.submit(protocol, world, name, 0) for _ in range(4)]  # for the next web server
        assert [one.result() for one in waiting] == ["h2"] * 4

    authority.end()
    world.release("2")
    assert visit(world, name, trusting=trusted).text == "version 2"
    down = world.run("domain", "renew", "--force", "--json", check=1).document["certificates"][0]
    assert "does not answer" in down["problem"]
    assert serials() == renewed
    secrets = lab.run(
        hosts_lab(world.hosts), world.hosts[1].name,
        ["sh", "-c", f"stat -c '%U:%G %a' /etc/deployd/web/certificates/{world.name}-production/*.key; "
         "journalctl --no-pager | grep -c 'BEGIN.*PRIVATE' || true"],
    )  # fmt: skip
    assert secrets.text.split() == ["root:caddy", "640", "0"]


def test_own_certificates_are_checked_and_their_end_is_told(world: World, tmp_path: Path) -> None:
    name = f"{world.name}.test"
    describe(world, f'domains = ["{name}"]\ntls = {{ cert = "own.pem", key = "own.key" }}\n')

    def own(*names: str, days: float, other_key: bool = False) -> str:
        chain, key = made_certificate(*names, days=days, age=80)
        (world.app / "own.pem").write_text(chain)
        (world.app / "own.key").write_text(made_certificate(*names)[1] if other_key else key)
        return key

    for wishes, code in (
        ({"names": ["other.test"], "days": 30}, "certificate-names"),
        ({"names": [name], "days": -0.5}, "certificate-expired"),
        ({"names": [name], "days": 30, "other_key": True}, "certificate-key-mismatch"),
    ):
        own(*wishes.pop("names"), **wishes)
        refused = world.release("1", check=1)
        assert refused.error["code"] == code
    assert lab.run(
        hosts_lab(world.hosts), world.hosts[0].name, ["ls", f"/etc/deployd/web/sites/{world.name}-production.caddy"],
        check=False,
    ).returncode != 0  # fmt: skip
    key = own(name, days=3)

    told = world.release("1", "-v")

    assert any(one.get("code") == "certificate-soon" for one in told.events)
    assert key.splitlines()[1] not in told.out + told.err
    assert visit(world, name, trusting=str(world.app / "own.pem"), host=1).text == "version 1"
    resolve = [f"--resolve={name}={host.address}" for host in world.hosts]
    soon = findings(world, *resolve, "--ca", str(world.app / "own.pem"))
    assert {one["host"] for one in soon if "ends in" in one["what"]} == {host.name for host in world.hosts}
    assert [host["certificate"]["soon"] for host in world.status()["hosts"]] == [True, True]
    assert "ends in 2 d" in world.run("status").out
    checked = world.run("host", "check", "--json").document
    assert [one["host"] for one in checked if name in one["what"] and "ends in" in one["what"]] == ["web1", "web2"]

    other = World(folder=tmp_path / "other", hosts=world.hosts, state=world.state, name=f"{world.name}b")
    describe(other, f'domains = ["{name}"]\ntls = "internal"\n')
    refused = other.release("9", check=1)
    assert refused.error["code"] == "domain-taken"
    assert visit(world, name, trusting=str(world.app / "own.pem")).text == "version 1"
    found = findings(world, f"--resolve={name}=192.0.2.1", check=1)
    lost = next(one for one in found if "none of the hosts" in one["what"])
    assert world.hosts[0].address in lost["fix"]
    assert json.dumps(found).count("distrust") == 2
