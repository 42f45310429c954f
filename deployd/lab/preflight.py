"""What the lab needs of this machine: nothing comes in; an error that names the remedy goes out, or nothing."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from deployd.errors import UsageError
from deployd.lab import cgroups

_PACKAGES = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
    "setsid": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
}
_WATCHES = Path("/proc/sys/fs/inotify/max_user_instances")
_WATCHES_PER_HOST = 10  # measured: 9.4 with Debian 12's systemd, logind, dbus and one login
_DISK_PACKAGES = {"mkfs.ext4": "e2fsprogs"}


def check_root() -> None:
    """Raise UsageError unless this is root on Linux."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise UsageError(
            "the lab needs root on Linux: it makes network namespaces, mounts and cgroups",
            code="lab-needs-root",
            fix="run it with sudo",
        )


def check(*, disk: bool = False) -> None:
    """Raise UsageError if this machine cannot run a lab; all that is missing is named at once."""
    check_root()
    needed = _PACKAGES | (_DISK_PACKAGES if disk else {})
    missing = {program: package for program, package in needed.items() if shutil.which(program) is None}
    if missing:
        raise UsageError(
            f"the lab needs programs that are not installed: {', '.join(sorted(missing))}",
            code="lab-tools-missing",
            fix=f"apt-get install --yes {' '.join(sorted(set(missing.values())))}",
        )
    cgroups.root()


def check_watches(hosts: int, *, limit: int | None = None) -> None:
    """Raise UsageError if so many hosts, in all labs together, need more inotify instances than root may have here.

    Beyond that, systemd in a host hangs or fails with "Too many open files", which nobody would read as this.
    """
    allowed = int(_WATCHES.read_text()) if limit is None else limit
    needed = hosts * _WATCHES_PER_HOST
    if needed > allowed:
        raise UsageError(
            f"{hosts} lab hosts need about {needed} inotify instances, and this machine allows {allowed}",
            code="lab-watches-low",
            fix=f"sysctl fs.inotify.max_user_instances={max(1024, needed * 2)}",
        )
