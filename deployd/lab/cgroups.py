"""Cgroups of the lab: a machine name comes in; whether it lives, its first process, and its end come out.

Each host's processes are in one cgroup of the version 2 hierarchy, `keeper/` (the loop that survives reboots) and
`host/` (systemd-nspawn and the server), so that nothing needs a pid file.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from deployd.errors import CommandError, UsageError

_PATIENCE = 20.0


def mount_point(mounts: str) -> Path | None:
    """Where the version 2 hierarchy is, by the text of /proc/self/mounts."""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) > 2 and fields[2] == "cgroup2":  # noqa: PLR2004 - device, folder, type
            return Path(fields[1])
    return None


def root() -> Path:
    """Where the version 2 hierarchy is on this machine."""
    found = mount_point(Path("/proc/self/mounts").read_text())
    if found is None:
        raise UsageError(
            "this machine has no cgroup v2 hierarchy, which systemd in a lab host needs",
            code="lab-cgroup2-missing",
            fix="mount one: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
        )
    return found


def make(cgroup: Path) -> None:
    """Make a host's cgroup, empty."""
    (cgroup / "keeper").mkdir(parents=True, exist_ok=True)


def is_populated(cgroup: Path) -> bool:
    """Whether any process is in the cgroup."""
    try:
        return "populated 1" in (cgroup / "cgroup.events").read_text()
    except OSError:
        return False


def first_process(cgroup: Path) -> int | None:
    """The pid of a host's own systemd, or None while there is none."""
    try:
        text = (cgroup / "host" / "payload" / "init.scope" / "cgroup.procs").read_text()
    except OSError:
        return None
    return min((int(pid) for pid in text.split()), default=None)


def remove(cgroup: Path) -> None:
    """Kill all that is in the cgroup, and remove it; it may not exist."""
    deadline = time.monotonic() + _PATIENCE
    while cgroup.is_dir():
        _kill(cgroup)
        try:
            for folder, _, _ in os.walk(cgroup, topdown=False):
                Path(folder).rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            if time.monotonic() > deadline:
                raise CommandError(
                    f"{cgroup} still has processes after {_PATIENCE:g} s: {error}",
                    code="lab-not-clean",
                    fix="see what hangs in the kernel with `ps -eo pid,stat,wchan,args`, then run `deployd lab down`",
                ) from error
            time.sleep(0.01)


def _kill(cgroup: Path) -> None:
    try:
        (cgroup / "cgroup.kill").write_text("1")
    except OSError:  # before Linux 5.14
        for procs in cgroup.rglob("cgroup.procs"):
            for pid in procs.read_text().split():
                os.kill(int(pid), signal.SIGKILL)
