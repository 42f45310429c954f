"""Nothing comes in, what this host is goes out."""

from __future__ import annotations

import os
import sys
import time

from deployd_host.asking import ask
from deployd_host.drains import host_is_drained
from deployd_host.files import disk_free, names_in, read_bytes
from deployd_host.paths import BASE, PROTOCOL, ROOT, WEB_PORT, WEB_WITHIN
from deployd_host.places import places
from deployd_host.ports import holder_of_port
from deployd_host.programs import run, systemctl, unit_facts
from deployd_host.words import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.calls import Call
    from deployd_host.replies import Json


def verb_facts(_call: Call) -> Json:
    """What this host is."""
    release = dict(
        line.partition("=")[::2] for line in (read_bytes(ROOT + "/usr/lib/os-release") or b"").decode().splitlines()
    )
    libc, _, libc_version = (os.confstr("CS_GNU_LIBC_VERSION") or "musl unknown").partition(" ")
    free, inodes = disk_free()
    machine = os.uname().machine
    rsync = run(["/usr/bin/rsync", "--version"]).out if os.path.exists("/usr/bin/rsync") else ""
    systemd = systemctl("--version").out.split()
    return {
        "helper": PROTOCOL,
        "os": release.get("ID", "unknown").strip('"'),
        "os_version": release.get("VERSION_ID", "").strip('"'),
        "cpu": {"x86_64": "x64", "aarch64": "arm64"}.get(machine, machine),
        "libc": libc,
        "libc_version": libc_version,
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "disk_free": free,
        "inodes_free": inodes,
        "mounted": mounted(),
        "systemd": int(systemd[1]) if len(systemd) > 1 and systemd[1].isdigit() else 0,
        "rsync": rsync.split()[2] if len(rsync.split()) > 2 else None,
        "web": web_version(),
        **web_facts(),
        "incoming": broken_transfers(),
        "runtimes": [name for name in names_in(BASE + "/runtimes") if matches("runtime", name)],
        "apps": [{"app": place.app, "environment": place.environment, "current": place.live()} for place in places()],
        "time": time.time(),
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "drained": host_is_drained(),
    }


def mounted() -> list[str]:
    """What the file system of the releases forbids: `ro`, `noexec`; most often nothing."""
    flags = os.statvfs(BASE if os.path.isdir(BASE) else "/").f_flag
    return [name for name, flag in (("ro", os.ST_RDONLY), ("noexec", os.ST_NOEXEC)) if flags & flag]


def web_facts() -> Json:
    """Whether the web server runs, and who has its ports: `deployd`, the names of other programs, None for nobody."""
    units = unit_facts("deployd-web.service", "deployd-web.socket")
    ours = {name: one.get("ActiveState") == "active" for name, one in units.items()}
    return {
        "web_running": ours.get("deployd-web.service", False),
        "web_answers": web_answers() if ours.get("deployd-web.socket") else None,
        "port_80": "deployd" if ours.get("deployd-web.socket") else holder_of_port(80),
        "port_443": "deployd" if ours.get("deployd-web.socket") else holder_of_port(443),
    }


def web_answers() -> bool:
    """Whether the web server answers a visitor, whatever it says; a process that hangs or is stopped only listens."""
    try:
        ask(
            ("127.0.0.1", WEB_PORT), "/.deployd/health", "deployd-check.invalid", timeout=WEB_WITHIN, watch=lambda: None
        )
    except OSError:
        return False
    return True


def broken_transfers() -> int:
    """How many releases have begun to arrive and were never sealed; one may be on its way just now."""
    return sum(
        1
        for folder in names_in(BASE + "/incoming")
        for name in names_in(f"{BASE}/incoming/{folder}")
        if folder != "runtimes" and os.path.exists(_begun_of(folder, name))
    )


def _begun_of(folder: str, release: str) -> str:
    app, _, environment = folder.rpartition("-")
    return f"{BASE}/apps/{app}/{environment}/begun/{release}.json"


def web_version() -> str | None:
    """The pinned web server's version, from the name of its folder."""
    try:
        name = os.readlink(BASE + "/web/current")
    except OSError:
        return None
    return name.rpartition("-")[2]
