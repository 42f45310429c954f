"""What a lab leaves on a machine: its name comes in, a list of everything that belongs to it goes out."""

from __future__ import annotations

from pathlib import Path

from deployd import paths
from deployd.lab import cgroups, names
from deployd.lab.records import LabRecord


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
    return found + _links(name, names.choose_number(name, set()) if number is None else number)


def _links(name: str, number: int) -> list[str]:
    """The links of a number; none when another lab has it meanwhile, as its record says."""
    net, bridge = Path("/sys/class/net"), names.bridge(number)
    found = [net / bridge, *net.glob(f"{bridge}-*")]
    records = (paths.cache_dir() / "lab" / "labs").glob("*/lab.json")
    others = [LabRecord.load(text) for path in records if (text := _text(path))]
    if any(other.number == number and other.name != name for other in others):
        return []
    return [str(link) for link in found if link.exists()]


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
