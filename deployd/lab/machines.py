"""One host on this machine: a record comes in; a booted server comes out, or nothing of it is left.

Everything here is named after the host, so what a killed command left is found again without having been noted down.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import process
from deployd.errors import HostError
from deployd.lab import cgroups, commands, locks, names, signals
from deployd.lab.records import LabHost

if TYPE_CHECKING:
    import threading

    from deployd.lab.records import HostRecord, LabRecord

_BOOT_LIMIT = 90.0
_IFF_UP = 1
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_NETNS = Path("/run/netns")
_NSPAWN = Path("/run/systemd/nspawn")
_REBOOT = signal.SIGRTMIN + 5  # what systemd as pid 1 takes for `reboot`


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A host's place on this machine. `folder` is the lab's."""

    lab: LabRecord
    host: HostRecord
    folder: Path
    tree: Path

    @property
    def name(self) -> str:
        """`dpl-<lab>-<host>`."""
        return names.machine(self.lab.name, self.host.name)

    @property
    def address(self) -> str:
        """The host's address."""
        return names.address(self.lab.number, self.host.index)

    @property
    def place(self) -> Path:
        """The host's own folder: seed, disk, mount point, console log."""
        return self.folder / "hosts" / self.host.name

    @property
    def cgroup(self) -> Path:
        """The host's cgroup."""
        return cgroups.root() / self.name

    @property
    def cable(self) -> str:
        """This machine's end of the host's cable."""
        return names.veth(self.lab.number, self.host.index)

    def look(self) -> LabHost:
        """How the host is now."""
        pid = cgroups.first_process(self.cgroup)
        return LabHost(
            name=self.host.name,
            address=self.address,
            user="root",
            identity=str(self.folder / "id_ed25519"),
            host_key=host_key(self.place),
            running=pid is not None,
            pid=pid,
        )


def host_key(place: Path) -> str:
    """A host's public key as known_hosts has it, without the address; empty while it has none."""
    try:
        return " ".join((place / "seed/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2])
    except FileNotFoundError:
        return ""


def prepare(machine: Machine) -> None:
    """Make what stays while the host exists: its keys and names (a read-only layer of its own), and its disk."""
    place = machine.place
    seed = place / "seed"
    if not (place / "ready").exists():
        shutil.rmtree(place, ignore_errors=True)
        for folder in ("root", "disk", "seed/etc/ssh", "seed/root/.ssh"):
            (place / folder).mkdir(parents=True)
        for folder in ("", "etc", "etc/ssh"):
            (seed / folder).chmod(0o755)
        for folder in ("root", "root/.ssh"):
            (seed / folder).chmod(0o700)
        name, public = machine.host.name, (machine.folder / "id_ed25519.pub").read_text()
        _write(seed / "etc/hostname", f"{name}\n")
        _write(seed / "etc/hosts", f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n{machine.address} {name}\n")
        _write(seed / "etc/machine-id", os.urandom(16).hex() + "\n")
        _write(seed / "root/.ssh/authorized_keys", public, mode=0o600)
        make_key(seed / "etc/ssh/ssh_host_ed25519_key", comment=f"root@{name}")
        if machine.host.disk:
            image = place / "disk.img"
            with image.open("wb") as file:
                file.truncate(machine.host.disk)
            process.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)])
        (place / "ready").touch()


def make_key(path: Path, *, comment: str) -> None:
    """A new ed25519 key pair, both or none: a killed command's ssh-keygen may still write its own beside this one."""
    public = f"{path.name}.pub"
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".key-") as made:
        process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", f"{made}/{path.name}"])
        Path(made, public).chmod(0o644)
        for name in (path.name, public):
            Path(made, name).replace(path.with_name(name))


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.write_text(text)
    path.chmod(mode)


def bridge_up(number: int) -> None:
    """Make the lab's bridge, or finish one that a killed command began."""
    _ip("-batch", "-", stdin=commands.bridge_up(number, there=_has_link(names.bridge(number))))


def bridge_down(number: int) -> None:
    """Remove the lab's bridge, and any cable that is left of it."""
    for link in Path("/sys/class/net").glob(f"{names.bridge(number)}-*"):
        _ip("link", "delete", link.name, check=False)
    if _has_link(names.bridge(number)):
        _ip("link", "delete", names.bridge(number))


def start(machine: Machine) -> None:
    """Boot a host that does not run; whatever is left of an earlier life is removed first, its disk kept."""
    stop(machine)
    lab, host = machine.lab, machine.host
    _ip("netns", "add", machine.name)
    _ip("-batch", "-", stdin=commands.cable_up(lab.number, host.index, machine=machine.name))
    _ip("-n", machine.name, "-batch", "-", stdin=commands.address_up(lab.number, host.index))
    cgroups.make(machine.cgroup)
    (machine.place / "console.log").unlink(missing_ok=True)
    process.run(commands.boot(lab, host, folder=machine.place, tree=machine.tree, cgroup=machine.cgroup))


def stop(machine: Machine) -> None:
    """End a host as a power cut would: processes (mounts end with them), namespace, cable. Its disk stays."""
    cgroups.remove(machine.cgroup)
    if (_NETNS / machine.name).exists():
        _ip("netns", "delete", machine.name)
    if _has_link(machine.cable):  # the namespace takes it along, but not at once
        _ip("link", "delete", machine.cable, check=False)
    for left in _NSPAWN.glob(f"*/{machine.name}"):
        if left.is_mount():
            process.run(["umount", "--lazy", str(left)], check=False)
        if left.is_dir():
            left.rmdir()
        else:
            left.unlink()


def wait(machine: Machine, *, known_hosts: Path, cancel: threading.Event, not_pid: int | None = None) -> str:
    """Wait until the host has booted and ssh lets root in; `not_pid` is the systemd of the life before a reboot.

    What comes back is systemd's own word: `running`, or `degraded` when a unit failed.
    """
    deadline = time.monotonic() + _BOOT_LIMIT
    while time.monotonic() < deadline:
        signals.check(cancel)
        if not cgroups.is_populated(machine.cgroup):
            raise _failed(machine, "ended while it booted")
        pid = cgroups.first_process(machine.cgroup)
        if pid is not None and pid != not_pid and answers(machine.address):
            state = _ask_state(machine, known_hosts=known_hosts, cancel=cancel)
            if state:
                return state
        time.sleep(0.03)
    raise _failed(machine, f"did not let ssh in within {_BOOT_LIMIT:g} s")


def _ask_state(machine: Machine, *, known_hosts: Path, cancel: threading.Event) -> str | None:
    identity = str(machine.folder / "id_ed25519")
    question = ("systemctl", "is-system-running", "--wait")
    argv = commands.ssh(address=machine.address, identity=identity, known_hosts=known_hosts, argv=question)
    word = process.run(argv, check=False, cancel=cancel, timeout=_BOOT_LIMIT).text.strip()
    return word if word in ("running", "degraded") else None


def answers(address: str) -> bool:
    """Whether an ssh server greets at that address."""
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def ask_reboot(machine: Machine) -> int:
    """Tell the host's systemd to reboot, without the network; its pid until now comes back."""
    pid = cgroups.first_process(machine.cgroup)
    if pid is None:
        raise HostError(
            f"{machine.host.name} is not running",
            code="lab-host-down",
            host=machine.host.name,
            live="nothing: it is down",
            fix=f"deployd lab up --name {machine.lab.name}",
        )
    os.kill(pid, _REBOOT)
    return pid


def is_cut(machine: Machine) -> bool:
    """Whether the host's network cable is pulled."""
    try:
        flags = int(Path("/sys/class/net", machine.cable, "flags").read_text(), 16)
    except OSError:
        return True
    return not flags & _IFF_UP


def set_cable(machine: Machine, *, up: bool) -> None:
    """Pull the host's network cable, or put it back."""
    _ip("link", "set", machine.cable, "up" if up else "down")


def sweep() -> None:
    """Remove what the programs used here leave: the mount of `ip netns`, the locks of systemd-nspawn."""
    for lock in _NSPAWN.glob("locks/*"):
        locks.remove_if_free(lock)
    if _NETNS.is_mount() and not any(_NETNS.iterdir()):
        process.run(["umount", str(_NETNS)], check=False)
    if not _NETNS.is_mount() and _NETNS.is_dir() and not any(_NETNS.iterdir()):
        with suppress(OSError):  # a mount namespace that is just ending may hold it: the next `down` removes it
            _NETNS.rmdir()


def _failed(machine: Machine, how: str) -> HostError:
    log = machine.place / "console.log"
    lines = _ANSI.sub("", log.read_text(errors="replace")).splitlines() if log.exists() else []
    return HostError(
        f"lab host {machine.host.name} {how}",
        code="lab-host-failed",
        host=machine.host.name,
        live="nothing: it has not booted",
        details="\n".join(line.rstrip() for line in lines[-20:]) or None,
        fix=f"read its console above; `deployd lab down --name {machine.lab.name}` clears the lab",
    )


def _has_link(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def _ip(*arguments: str, stdin: str | None = None, check: bool = True) -> None:
    process.run(["ip", *arguments], stdin=stdin.encode() if stdin else None, check=check)
