"""What a lab leaves on a machine: its name comes in, a list of everything that belongs to it goes out."""

from __future__ import annotations

from pathlib import Path

from deployd import paths
from deployd.lab import cgroups, names


def of(name: str, number: int | None = None) -> list[str]:
    """Each mount, namespace, link, cgroup, process, loop device and file of the lab `name`."""
    machine, folder = f"dpl-{name}-", f"/lab/labs/{name}/"
    found = [f"mount {line}" for line in _lines("/proc/self/mountinfo") if machine in line or folder in line]
    for where in ("/run/netns", "/run/systemd/nspawn/propagate", str(cgroups.root())):
        found += [str(path) for path in Path(where).glob(f"{machine}*")]
    for process in Path("/proc").glob("[0-9]*"):
        told = _text(process / "cmdline").replace("\0", " ")
        if (machine in _text(process / "cgroup") or machine in told or folder in told) and not _is_dead(process):
            found.append(f"process {process.name} {told}")
    found += [f"loop {path}" for path in Path("/sys/block").glob("loop*/loop/backing_file") if folder in _text(path)]
    lab = paths.cache_dir() / "lab"
    found += [str(path) for path in (lab / "labs" / name, lab / "locks" / f"lab-{name}") if path.exists()]
    if number is None:
        number = names.choose_number(name, set())
    bridge = names.bridge(number)
    found += [str(link) for link in Path("/sys/class/net").glob("*") if link.name == bridge]
    found += [str(link) for link in Path("/sys/class/net").glob(f"{bridge}-*")]
    return found


def _is_dead(process: Path) -> bool:
    """Ended, and only not yet noticed by the machine's init (which may look once a second only)."""
    return _text(process / "stat").rpartition(")")[2].split()[:1] in ([], ["Z"])


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
