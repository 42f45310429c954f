"""Command lines of the lab: records and paths come in, argv tuples go out. Pure; nothing is run here."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.lab import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from deployd.lab.records import HostRecord, LabRecord

_HOST_SCRIPT = Path(__file__).with_name("host.sh")
# The first process enters the host's cgroup before anything forks: whatever it becomes, `cgroup.kill` reaches it.
_ENTER = 'umask 022 && echo $$ >"$1/cgroup.procs" && shift && exec "$@"'


def enter(cgroup: Path, argv: Sequence[str]) -> tuple[str, ...]:
    """`argv`, run inside `cgroup`."""
    return ("sh", "-c", _ENTER, "enter", str(cgroup), *argv)


def boot(lab: LabRecord, host: HostRecord, *, folder: Path, tree: Path, cgroup: Path) -> tuple[str, ...]:
    """Boot a host: returns at once; the host lives on in a session and a mount namespace of its own."""
    machine = names.machine(lab.name, host.name)
    script = ("sh", str(_HOST_SCRIPT), machine, host.name, str(folder), str(tree), str(cgroup))
    return enter(cgroup / "keeper", ("setsid", "--fork", "unshare", "--mount", "--propagation", "private", *script))


def bridge_up(number: int, *, there: bool) -> str:
    """For `ip -batch`: the lab's bridge, with this machine's address; one that is `there` may be half made."""
    name = names.bridge(number)
    return _batch(
        *(() if there else (f"link add name {name} type bridge",)),
        f"addr replace {names.gateway(number)}/24 dev {name}",
        f"link set {name} up",
    )


def cable_up(number: int, index: int, *, machine: str) -> str:
    """For `ip -batch`: a cable from the bridge to the namespace `machine`, where its end is called eth0."""
    name = names.veth(number, index)
    return _batch(
        f"link add name {name} type veth peer name eth0 address {names.mac(number, index)} netns {machine}",
        f"link set {name} master {names.bridge(number)} up",
    )


def address_up(number: int, index: int) -> str:
    """For `ip -n MACHINE -batch`: a host's address. There is no default route: a lab host reaches this machine only."""
    return _batch(
        "link set lo up",
        f"addr add {names.address(number, index)}/24 dev eth0",
        "link set eth0 up",
    )


def _batch(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def ssh(*, address: str, identity: str, known_hosts: Path, argv: Sequence[str] = ()) -> tuple[str, ...]:
    """Log in as root with the lab's key, trusting only the pinned host key. `argv` reaches the program unchanged."""
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": "5",
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known_hosts),
    }
    flags = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    command = (shlex.join(argv),) if argv else ()
    return ("ssh", "-F", "/dev/null", "-i", identity, *flags, f"root@{address}", *command)


def mmdebstrap(
    *,
    suite: str,
    root: Path,
    include: Iterable[str],
    hook: str,
    sources: Sequence[str],
    apt_options: Iterable[str],
) -> tuple[str, ...]:
    """Make a Debian tree in `root`.

    In a PID namespace that ends with its first process: whoever kills this, and however, no apt or dpkg stays behind.
    """
    excluded = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
    return (
        "unshare", "--pid", "--fork", "--kill-child=KILL", "--mount", "--propagation", "private", "--mount-proc",
        "sh", "-c", 'umask 022 && exec "$@"', "mmdebstrap",
        "mmdebstrap", "--variant=minbase", "--mode=root", "--format=directory",
        f"--include={','.join(include)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in excluded),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=force-unsafe-io",
        *(f"--aptopt={option}" for option in apt_options),
        f"--customize-hook={hook}",
        suite, str(root), *sources,
    )  # fmt: skip
