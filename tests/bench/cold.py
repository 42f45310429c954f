"""Previews that nobody asks for, and connections that say nothing: what a first byte takes, and what idleness costs."""

from __future__ import annotations

import socket
import ssl
import statistics
import time
from typing import TYPE_CHECKING

from deployd import lab
from tests.bench.places import host_of, unit_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.world import World

ROUNDS = 7
CONNECTIONS = 10_000
IDLE_SECONDS = 2
# On the host: the release's server by itself, from its start to its first byte, in milliseconds.
BARE = """
import os, socket, subprocess, sys, time
folder = sys.argv[1]
began = time.perf_counter()
server = subprocess.Popen(
    [folder + "/node", folder + "/entry"], cwd=folder + "/..", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    env={"PORT": "39123", "HOSTNAME": "localhost", "NODE_ENV": "production", "HOME": "/tmp", "PATH": os.environ["PATH"]},
)
try:
    while time.perf_counter() - began < 30:
        try:
            with socket.create_connection(("localhost", 39123)) as asked:
                asked.sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
                if asked.recv(1):
                    break
        except OSError:
            time.sleep(0.005)
    print((time.perf_counter() - began) * 1000)
finally:
    server.kill()
    server.wait()
"""
# On the host: the processes of the unit's control group, and the bytes that are theirs; none where there is no group.
HELD = """
import os, sys
found = [here for here, _, files in os.walk("/sys/fs/cgroup") if here.endswith("/" + sys.argv[1])]
pids = [pid for here in found for pid in open(here + "/cgroup.procs").read().split()]
sizes = [line.split()[1] for pid in pids for line in open(f"/proc/{pid}/smaps_rollup") if line.startswith("Pss:")]
print(len(pids), sum(map(int, sizes)) * 1024)
"""


def cold(world: World, *, previews: str, say: Callable[[str], None]) -> None:
    """A preview's first byte when nothing of it runs, beside a bare start of its server until its first byte."""
    release = preview_of(world)
    name = f"{release}.{world.name}.{previews}"
    folder = f"/srv/deployd/apps/{world.name}/production/releases/{release}/.deployd"
    first_byte(world, name)  # the name's certificate is made when it is first asked for
    through, alone = [], []
    for _ in range(ROUNDS):
        lab.run(*host_of(world), ["systemctl", "stop", unit_of(world, release)])
        through.append(first_byte(world, name))
        lab.run(*host_of(world), ["systemctl", "stop", unit_of(world, release)])
        alone.append(float(lab.run(*host_of(world), ["python3", "-c", BARE, folder]).text))
    ratio = statistics.median(a / b for a, b in zip(through, alone, strict=True))
    say(
        f"visitors  preview from cold, https: first byte after {statistics.median(through):.0f} ms,"
        f" `node server.js` alone {statistics.median(alone):.0f} ms; ratio {ratio:.2f} (at most 1.5)"
    )


def idle(world: World, *, previews: str, say: Callable[[str], None]) -> None:
    """A preview that was asked for ends by itself and leaves nothing; and requests beside connections that say nothing."""
    release = preview_of(world)
    unit = unit_of(world, release)
    override = f"/run/systemd/system/deployd-{world.name}-production-1@.service.d/idle.conf"
    script = f"""
        mkdir -p {override.rpartition("/")[0]}
        printf '[Service]\\nEnvironment=DEPLOYD_IDLE={IDLE_SECONDS}\\n' > {override}
        systemctl daemon-reload; systemctl stop {unit}
    """
    lab.run(*host_of(world), ["sh", "-c", script])
    try:
        first_byte(world, f"{release}.{world.name}.{previews}")
        asked = held(world, unit)
        deadline = time.monotonic() + 60
        while held(world, unit)[0] and time.monotonic() < deadline:
            time.sleep(1)
        left = held(world, unit)
    finally:
        lab.run(*host_of(world), ["sh", "-c", f"rm -f {override}; systemctl daemon-reload"])
    say(
        f"visitors  an idle preview: {left[0]} processes, {left[1]} bytes (0 and 0);"
        f" while it was asked for: {asked[0]} and {asked[1] / 1e6:.0f} MB"
    )
    quiet_connections(world, say=say)


def quiet_connections(world: World, *, say: Callable[[str], None]) -> None:
    """What a request takes beside very many connections that say nothing."""
    address = world.hosts[0].address

    def asked() -> float:
        began = time.perf_counter()
        for _ in range(100):
            with socket.create_connection((address, 80), timeout=30) as one:
                one.sendall(b"GET / HTTP/1.1\r\nHost: nobody.example\r\nConnection: close\r\n\r\n")
                while one.recv(65536):
                    pass
        return (time.perf_counter() - began) / 100 * 1000

    before = asked()
    lines = [socket.create_connection((address, 80), timeout=30) for _ in range(CONNECTIONS)]
    try:
        during = asked()
    finally:
        for line in lines:
            line.close()
    say(f"visitors  {CONNECTIONS} idle connections: a request takes {during:.2f} ms, {before:.2f} ms without them")


def first_byte(world: World, name: str) -> float:
    """Milliseconds from the connection to the first byte of `/` of a name, over https."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    began = time.perf_counter()
    raw = socket.create_connection((world.hosts[0].address, 443), timeout=60)
    with context.wrap_socket(raw, server_hostname=name) as asked:
        asked.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        head = asked.recv(65536)
    assert head.startswith(b"HTTP/1.1 200"), head[:300]
    return (time.perf_counter() - began) * 1000


def held(world: World, unit: str) -> tuple[int, int]:
    """How many processes a unit has on the host, and how many bytes they hold."""
    pids, size = lab.run(*host_of(world), ["python3", "-c", HELD, unit]).text.split()
    return int(pids), int(size)


def preview_of(world: World) -> str:
    """A release that is prepared and live for nobody."""
    status = world.status()["release"]
    for one in world.run("releases", "--json").document:
        if one["id"] != status and one["state"] == "prepared":
            return str(one["id"])
    return str(world.run("release", "--no-activate", "--json", "--yes", timeout=900).last["release"])
