"""Labs as a whole: a name comes in; running hosts come out, or nothing is left.

Three locks, taken in this order: the lab's own (one `up`, `down` or `reboot` of a lab at a time), `trees` (base trees
and numbers), `net` (the folder of `ip netns`). What is on disk says what a lab is; what runs is asked of the kernel. So
a command that was killed anywhere is finished, or cleaned up, by the next.
"""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from deployd import paths, process
from deployd.errors import BusyError, NotFoundError, UsageError
from deployd.lab import commands, locks, machines, names, preflight, tree
from deployd.lab.records import Lab, LabHost, LabRecord
from deployd.lab.signals import check, interruptible

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path


_AT_ONCE = 8  # hosts


def _silent(_line: str) -> None:
    return


def _root() -> Path:
    return paths.cache_dir() / "lab"


def _folder(name: str) -> Path:
    try:
        return _root() / "labs" / names.check_lab(name)
    except ValueError as error:
        raise UsageError(str(error), code="lab-name-invalid", fix="choose another name with --name") from error


def _trees() -> tree.Trees:
    return tree.Trees(folder=_root() / "trees")


def _lock(what: str) -> Path:
    return _root() / "locks" / what


def up(
    name: str = names.DEFAULT,
    *,
    hosts: int,
    disk: str | None = None,
    suite: str = tree.SUITE,
    report: Callable[[str], None] = _silent,
) -> Lab:
    """Make sure that the lab has at least `hosts` hosts and that all of them run; returns once ssh lets root in.

    Running hosts are left alone, dead ones booted again from their own disk. `disk` ("300M") limits the file system of
    the hosts that this call adds; `suite` counts for a new lab only. What an `up` made that fails or is interrupted is
    removed.
    """
    folder = _folder(name)
    size = _check_wish(hosts, disk=disk, suite=suite)
    preflight.check(disk=size is not None)
    with interruptible() as cancel, locks.held(_lock(f"lab-{name}"), cancel=cancel):
        before = _load(folder)
        started: list[machines.Machine] = []
        pool = ThreadPoolExecutor(max_workers=_AT_ONCE)
        try:
            record = _allocate(name, hosts=hosts, disk=size, suite=suite, report=report, cancel=cancel)
            started += [machine for machine in _machines(record) if not machine.look().running]
            if started:
                _start(record, started, pool=pool, report=report, cancel=cancel)
            _await(record, started, pool=pool, report=report, cancel=cancel)
            check(cancel)
        except BaseException:
            cancel.set()
            pool.shutdown(cancel_futures=True)
            _undo(name, before=before, started=started)
            raise
        pool.shutdown()
        return Lab(
            name=name,
            subnet=names.subnet(record.number),
            hosts=tuple(machine.look() for machine in _machines(record)),
            known_hosts=folder / "known_hosts",
        )


def _check_wish(hosts: int, *, disk: str | None, suite: str) -> int | None:
    if not 1 <= hosts <= names.MAX_HOSTS:
        raise UsageError(
            f"a lab cannot have {hosts} hosts", code="lab-wish-invalid", fix=f"ask for 1 to {names.MAX_HOSTS}"
        )
    if suite not in tree.SUITES:
        raise UsageError(
            f"the lab knows no suite {suite!r}", code="lab-wish-invalid", fix=f"choose one of {', '.join(tree.SUITES)}"
        )
    try:
        return names.parse_size(disk) if disk else None
    except ValueError as error:
        raise UsageError(str(error), code="lab-wish-invalid", fix="for example --disk 500M") from error


def _allocate(
    name: str, *, hosts: int, disk: int | None, suite: str, report: Callable[[str], None], cancel: threading.Event
) -> LabRecord:
    folder = _folder(name)
    with locks.held(_lock("trees"), cancel=cancel):
        record = _load(folder)
        others = sum(len(lab.hosts) for lab in _records() if lab.name != name)
        preflight.check_watches(others + max(hosts, len(record.hosts) if record else 0))
        if record is None:
            base = _trees().ensure(suite, report=report, cancel=cancel)
            record = LabRecord(name=name, number=_choose_number(name), tree=base)
        record = record.with_hosts(hosts, disk=disk)
        _save(folder, record)
        current = {tree.recipe_name(known) for known in tree.SUITES}
        _trees().prune(current | {lab.tree for lab in _records()})
    return record


def _choose_number(name: str) -> int:
    routes = json.loads(process.run(["ip", "-j", "-4", "route"]).text or "[]")
    taken = names.numbers_in([route["dst"] for route in routes]) | {lab.number for lab in _records()}
    number = names.choose_number(name, taken)
    if number is None:
        raise BusyError(
            "every lab network is in use", code="lab-full", fix="take a lab down: deployd lab down --name L"
        )
    return number


def _start(
    record: LabRecord,
    started: Sequence[machines.Machine],
    *,
    pool: ThreadPoolExecutor,
    report: Callable[[str], None],
    cancel: threading.Event,
) -> None:
    folder = _folder(record.name)
    if not (folder / "id_ed25519.pub").exists():
        (folder / "id_ed25519").unlink(missing_ok=True)
        machines.make_key(folder / "id_ed25519", comment=f"lab {record.name}")
    report(f"booting {', '.join(machine.host.name for machine in started)}")
    list(pool.map(machines.prepare, started))
    _write_known_hosts(record)
    with locks.held(_lock("net"), cancel=cancel):  # `ip netns add` must not meet the sweep of another lab's `down`
        machines.bridge_up(record.number)
        for machine in started:
            check(cancel)
            machines.start(machine)


def _await(
    record: LabRecord,
    started: Sequence[machines.Machine],
    *,
    pool: ThreadPoolExecutor,
    report: Callable[[str], None],
    cancel: threading.Event,
) -> None:
    known_hosts = _folder(record.name) / "known_hosts"

    def wait(machine: machines.Machine) -> str:
        if machine in started or not (machines.is_cut(machine) or machines.answers(machine.address)):
            return machines.wait(machine, known_hosts=known_hosts, cancel=cancel)
        return "runs already"

    for machine, state in zip(_machines(record), pool.map(wait, _machines(record)), strict=True):
        report(f"{machine.host.name} {machine.address} {state}")


def _undo(name: str, *, before: LabRecord | None, started: Sequence[machines.Machine]) -> None:
    if before is None:
        _clear(name)
        return
    kept = {host.index for host in before.hosts}
    for machine in started:
        machines.stop(machine)
        if machine.host.index not in kept:
            shutil.rmtree(machine.place, ignore_errors=True)
    _save(_folder(name), before)
    _write_known_hosts(before)


def down(name: str = names.DEFAULT, *, report: Callable[[str], None] = _silent) -> bool:
    """Take a lab away, with all that an interrupted `up` may have left; False if there was none."""
    folder = _folder(name)
    preflight.check_root()
    with interruptible() as cancel, locks.held(_lock(f"lab-{name}"), cancel=cancel):
        there = folder.exists()
        _clear(name)
    if not there:
        return False
    report(f"lab {name} is gone")
    return True


def _clear(name: str) -> None:
    folder = _folder(name)
    record = _load(folder)
    if record is not None:
        for machine in _machines(record):
            machines.stop(machine)
        machines.bridge_down(record.number)
    with locks.held(_lock("net")):
        machines.sweep()
    with suppress(BlockingIOError), locks.held(_lock("trees"), wait=False):  # else somebody builds one right now
        _trees().sweep()
    if folder.exists():
        shutil.rmtree(folder)
    labs = folder.parent
    if labs.is_dir() and not any(labs.iterdir()):
        labs.rmdir()


def purge() -> None:
    """Remove the cached base trees that no lab stands on."""
    preflight.check_root()
    with locks.held(_lock("trees")):
        _trees().sweep()
        _trees().prune({lab.tree for lab in _records()})


def status(name: str = names.DEFAULT) -> tuple[LabHost, ...]:
    """The hosts of a lab, running or not; none when there is no such lab."""
    preflight.check_root()
    record = _load(_folder(name))
    return tuple(machine.look() for machine in _machines(record)) if record else ()


def existing() -> tuple[str, ...]:
    """The names of all labs on this machine."""
    preflight.check_root()
    return tuple(sorted(record.name for record in _records()))


def reboot(name: str, host: str, *, hard: bool = False) -> LabHost:
    """Reboot a host and wait until ssh lets root in again. `hard` is a power cut: no process gets to say good-bye."""
    with interruptible() as cancel, locks.held(_lock(f"lab-{name}"), cancel=cancel):
        machine = _machine(name, host)
        known_hosts = _folder(name) / "known_hosts"
        pid = None
        if hard:
            with locks.held(_lock("net")):
                machines.start(machine)
        else:
            pid = machines.ask_reboot(machine)
        machines.wait(machine, known_hosts=known_hosts, cancel=cancel, not_pid=pid)
        return machine.look()


def run(
    name: str,
    host: str,
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    check: bool = True,
    timeout: float = 60.0,
) -> process.Completed:
    """Run a program on a host, as root, over ssh. 255 is ssh's own exit code."""
    return process.run(ssh_argv(name, host, argv), stdin=stdin, check=check, timeout=timeout)


def ssh_argv(name: str, host: str, argv: Sequence[str] = ()) -> tuple[str, ...]:
    """The ssh command that reaches a host; without `argv`, a login shell."""
    machine = _machine(name, host)
    folder = _folder(name)
    identity = str(folder / "id_ed25519")
    return commands.ssh(address=machine.address, identity=identity, known_hosts=folder / "known_hosts", argv=argv)


def cut(name: str, host: str) -> None:
    """Pull a host's network cable: no packet, and no word of it to anybody."""
    machines.set_cable(_machine(name, host), up=False)


def mend(name: str, host: str) -> None:
    """Put a host's network cable back."""
    machines.set_cable(_machine(name, host), up=True)


def _machine(name: str, host: str) -> machines.Machine:
    preflight.check_root()
    record = _load(_folder(name))
    if record is None:
        raise NotFoundError(f"there is no lab {name!r}", code="lab-not-found", fix=f"deployd lab up --name {name}")
    for machine in _machines(record):
        if machine.host.name == host:
            return machine
    there = ", ".join(known.name for known in record.hosts)
    raise NotFoundError(f"lab {name!r} has no host {host!r}", code="lab-host-unknown", fix=f"it has {there}")


def _machines(record: LabRecord) -> tuple[machines.Machine, ...]:
    folder, base = _folder(record.name), _trees().root(record.tree)
    return tuple(machines.Machine(lab=record, host=host, folder=folder, tree=base) for host in record.hosts)


def _records() -> list[LabRecord]:
    found = (_load(folder) for folder in (_root() / "labs").glob("*"))
    return [record for record in found if record is not None]


def _load(folder: Path) -> LabRecord | None:
    try:
        return LabRecord.load((folder / "lab.json").read_text())
    except FileNotFoundError:
        return None


def _save(folder: Path, record: LabRecord) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _replace(folder / "lab.json", record.dump())


def _write_known_hosts(record: LabRecord) -> None:
    lines = [f"{host.address} {host.host_key}\n" for host in (m.look() for m in _machines(record)) if host.host_key]
    _replace(_folder(record.name) / "known_hosts", "".join(lines))


def _replace(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text)
    aside.rename(path)
