"""A host and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deployd.domain.ids import HostName


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One server as deployd knows it.

    `admin_user` is who `host add` named (root or one with sudo): only bootstrapping logs in as that user.
    Rollouts log in as `deployd` with deployd's own key. `identity` is the admin's private key file, or None.
    `host_key` is the pinned key as in known_hosts, without the address: `ssh-ed25519 AAAA...`.
    """

    name: HostName
    address: str
    port: int = 22
    admin_user: str = "root"
    identity: str | None = None
    host_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedApp:
    """An app in an environment that a host has; `current` is None before its first flip."""

    app: str
    environment: str
    current: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a host's helper reports: sizes in bytes, `libc` is `glibc` or `musl`, `cpu` is `x64` or `arm64`."""

    helper: int
    os: str
    cpu: str
    libc: str
    libc_version: str
    cores: int
    memory: int
    disk_free: int
    systemd: int
    rsync: str | None
    web: str | None
    runtimes: tuple[str, ...]
    time: float
    os_version: str = ""
    inodes_free: int | None = None
    python: str = ""
    apps: tuple[HostedApp, ...] = ()
    web_running: bool | None = None
    web_answers: bool | None = None
    port_80: str | None = None
    port_443: str | None = None
    incoming: int = 0
    mounted: tuple[str, ...] = ()

    @property
    def forbids(self) -> tuple[str, str] | None:
        """What the file system of the releases forbids, and what to do; None for one that can take them."""
        if "ro" in self.mounted:
            return "/srv/deployd is mounted read-only", "see `dmesg` there (a disk that fails?), then mount it anew"
        if "noexec" in self.mounted:
            return (
                "no program may run from /srv/deployd (noexec)",
                "mount it with exec there: `findmnt -T /srv/deployd`",
            )
        return None
