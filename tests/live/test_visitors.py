"""What visitors meet, on real servers: tabs across releases, previews' addresses, maintenance, WebSockets that drain."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from deployd import lab
from tests.lab.conftest import hosts_lab
from tests.support.world import no_request_failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.world import World

DOMAIN = "preview.test"
SOCKETS = """
setImmediate(() => server.on("upgrade", (request, line) => {
  line.write("HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n");
  line.on("data", (data) => line.write("echo " + data));
  line.on("error", () => {});
}));
"""


def write_toml(world: World, extra: str = "", here: str = f'preview_domain = "{DOMAIN}"') -> None:
    world.write_toml(extra)
    with (world.app / "deployd.toml").open("a") as file:
        file.write(here + "\n")


def until(holds: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def processes(world: World, release: str) -> str:
    unit = f"deployd-{world.name}-production-1@{release}.service"
    told = lab.run(hosts_lab(world.hosts), world.hosts[0].name, ["systemctl", "is-active", unit], check=False)
    return told.text.strip()


def test_a_tab_keeps_its_release_and_previews_have_addresses(world: World) -> None:
    write_toml(world, '[run]\nwarm = "0s"\ndrain = "1s"\n[keep]\nreleases = 1\nfailed = 0\n')
    first = world.release("1").last["release"]
    second = world.release("2").last["release"]
    world.assert_live("2")
    until(lambda: processes(world, first) in {"inactive", "failed"})  # `drain` is shorter than a kept connection

    # pinned clients, by every name; the first one starts the server again
    build = world.run("show", first, "--json").document["build_id"]
    for host in range(len(world.hosts)):
        assert world.ask(f"/?dpl={build}", host=host)[1] == "version 1\n"
        assert world.ask("/", host=host, **{"x-deployment-id": first})[1] == "version 1\n"
        assert world.ask("/", host=host, Cookie=f"__vdpl={build}", Accept="*/*")[1] == "version 1\n"
        assert world.ask("/?dpl=..%2F..%2Fx", host=host)[1] == "version 2\n"
    assert processes(world, first) == "active"

    # previews: prepared, cold, and nobody's
    told = world.run("release", "--artifact", world.artifact("3"), "--no-activate")
    assert f".{world.name}.{DOMAIN}" in told.out
    third = world.run("releases", "--json").document[0]["id"]
    world.assert_live("2")
    assert world.ask(f"/?dpl={third}")[1] == "version 2\n"
    for release, version in ((first, "1"), (second, "2"), (third, "3")):
        command = world.run("open", "--release", release).out.strip()
        assert subprocess.run(
            [*shlex.split(command), "--silent"], capture_output=True, text=True, check=True
        ).stdout == f"version {version}\n"  # fmt: skip
    status, _, headers = world.ask(Host=f"{third}.{world.name}.{DOMAIN}")
    assert (status, headers["x-robots-tag"]) == (200, "noindex, nofollow")
    assert world.ask(Host=f"nothing.{world.name}.{DOMAIN}")[0] == 404

    # what nobody keeps any more is the current one's
    write_toml(world, '[keep]\nreleases = 1\nfailed = 0\nskew_protection = "0s"\n')
    fourth = world.release("4").last["release"]
    for release in (first, third):
        stop = ["systemctl", "stop", f"deployd-{world.name}-production-1@{release}.service"]
        for host in world.hosts:
            lab.run(hosts_lab(world.hosts), host.name, stop)
    world.run("prune")
    kept = {one["id"] for one in world.run("releases", "--json").document if one["state"] != "pruned"}
    assert kept >= {second, fourth}
    assert world.ask(f"/?dpl={build}")[1] == "version 4\n"
    assert world.ask(Host=f"{first}.{world.name}.{DOMAIN}")[0] == 404
    assert world.ask(Host=f"{second}.{world.name}.{DOMAIN}")[1] == "version 2\n"


def test_maintenance_on_every_host_while_releases_go_on(world: World) -> None:
    world.release("1")
    page = world.folder / "page.html"
    page.write_text("<h1>Back at nine</h1>")
    world.run("maintenance", "on", "--page", str(page), "--allow", "192.0.2.7")
    for host in range(len(world.hosts)):
        status, text, headers = world.ask(
            "/?x", host=host, **{"X-Forwarded-For": "192.0.2.7", "X-Real-IP": "127.0.0.1"}
        )
        assert (status, text, headers["retry-after"]) == (503, "<h1>Back at nine</h1>", "60")
        assert world.ask("/.deployd/health", host=host)[0] == 503
    assert [one["maintenance"]["allow"] for one in world.status()["hosts"]] == [["192.0.2.7"]] * len(world.hosts)
    assert "maintenance" in world.run("status").out

    world.release("2")
    assert world.ask()[0] == 503
    with socket.create_connection((world.hosts[0].address, 80)) as line:
        mine = line.getsockname()[0]
    world.run("maintenance", "on", "--allow", mine)
    world.assert_live("2")
    world.run("maintenance", "off")
    world.assert_live("2")
    assert {one["maintenance"] for one in world.status()["hosts"]} == {None}
    assert json.loads(world.run("maintenance", "off", "--json").out)["changed"] == []


def test_a_websocket_is_drained_and_then_closed(world: World) -> None:
    write_toml(world, '[run]\nwarm = "0s"\ndrain = "3s"\n')
    world.release("1", before=SOCKETS)
    with socket.create_connection((world.hosts[0].address, 80), timeout=30) as line:
        line.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert line.recv(1000).startswith(b"HTTP/1.1 101")
        with world.load() as told:
            world.release("2", before=SOCKETS)
            line.sendall(b"still here")
            assert line.recv(1000) == b"echo still here"
            line.settimeout(30)
            assert line.recv(1000) == b""  # the old release was drained, and ended
    no_request_failed(told)
    world.assert_live("2")


def test_previews_over_https_and_names_that_no_release_has(world: World) -> None:
    write_toml(world, here=f'preview_domain = "{DOMAIN}"\ndomains = ["{world.name}.test"]\ntls = "internal"')
    release = world.release("1").last["release"]
    name = f"{release}.{world.name}.{DOMAIN}"
    command = shlex.split(world.run("open", "--release", release).out.strip())
    assert command[-1] == f"https://{name}/"
    silent = ["--silent", "--insecure", "--max-time", "20"]
    for host in world.hosts:
        told = subprocess.run(
            ["curl", *silent, "--resolve", f"{name}:443:{host.address}", f"https://{name}/"],
            capture_output=True,
            text=True,
        )
        assert told.stdout == "version 1\n", told
        other = f"nothing.{world.name}.{DOMAIN}"
        told = subprocess.run(
            ["curl", *silent, "--resolve", f"{other}:443:{host.address}", "-w", "%{http_code}", f"https://{other}/"],
            capture_output=True,
            text=True,
        )
        assert (told.returncode, told.stdout[-3:]) == (0, "404")


def test_a_canary_from_some_visitors_to_all(world: World) -> None:
    world.release("1")
    world.release("2", "--no-activate")
    page = {"Accept": "text/html"}
    with world.load() as told:
        world.run("canary", "50%")
        for host in range(len(world.hosts)):
            seen = [world.ask(host=host, **page) for _ in range(40)]
            assert {text for _, text, _ in seen} == {"version 1\n", "version 2\n"}
            for _, text, headers in seen[:5]:
                cookie = headers["set-cookie"].partition(";")[0]
                assert world.ask(host=host, Cookie=cookie, **page)[1] == text
                assert world.ask(host=1 - host, Cookie=cookie, **page)[1] == text
        assert {one["canary"]["percent"] for one in world.status()["hosts"]} == {50.0}
        world.run("rollback")
        world.assert_live("1")
        assert {world.ask(**page)[1] for _ in range(10)} == {"version 1\n"}
        third = world.release("3", "--no-activate").last["release"]
        world.run("canary", "10%")
        assert world.run("release", "--finish", "--json").last["release"] == third
        world.assert_live("3")
    no_request_failed(told)
    assert {one["canary"] for one in world.status()["hosts"]} == {None}
