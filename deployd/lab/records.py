"""What a lab is: `LabRecord` is what is kept on disk, `Lab` and `LabHost` are what callers get."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from deployd.lab import names

if TYPE_CHECKING:
    from pathlib import Path

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LabHost:
    """One host of a lab: how to reach it, and how it is.

    `identity` is root's private key file, `host_key` is `ssh-ed25519 AAAA...`. `pid` is its systemd's, seen from this
    machine (so `/proc/<pid>/root` is its file tree), or None while it is down.
    """

    name: str
    address: str
    user: str
    identity: str
    host_key: str
    running: bool
    pid: int | None

    def to_json(self) -> dict[str, Any]:
        """One element of `lab status --json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A lab that is up."""

    name: str
    subnet: str
    hosts: tuple[LabHost, ...]
    known_hosts: Path

    def host(self, name: str) -> LabHost:
        """The host of that name; raises KeyError."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecord:
    """A host as it was asked for. `disk` is the size of its file system in bytes, None for no limit."""

    index: int
    disk: int | None = None

    @property
    def name(self) -> str:
        """`web1`, `web2`, ..."""
        return names.host(self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabRecord:
    """A lab as it was asked for: its number (which fixes every address) and the tree that its hosts stand on."""

    name: str
    number: int
    tree: str
    hosts: tuple[HostRecord, ...] = ()

    def with_hosts(self, wanted: int, *, disk: int | None) -> LabRecord:
        """The same lab with at least `wanted` hosts; `disk` is for the added ones."""
        more = tuple(HostRecord(index=index, disk=disk) for index in range(len(self.hosts) + 1, wanted + 1))
        return replace(self, hosts=self.hosts + more)

    def dump(self) -> str:
        """The record as text."""
        return json.dumps({"v": _VERSION} | asdict(self), indent=1) + "\n"

    @classmethod
    def load(cls, text: str) -> LabRecord:
        """A record from text; raises ValueError or KeyError when it is not one."""
        found = json.loads(text)
        hosts = tuple(HostRecord(index=host["index"], disk=host["disk"]) for host in found["hosts"])
        return cls(name=found["name"], number=found["number"], tree=found["tree"], hosts=hosts)
