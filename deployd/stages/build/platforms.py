"""The CPU of hosts, which is not this machine's -> their optional packages (`@img/sharp-linux-arm64`), installed too.

pnpm, Yarn and Bun install for several CPUs at once when they are told. npm installs for one alone: the packages that
its lock file names for the hosts are installed aside, by npm, and moved to their places.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
from typing import TYPE_CHECKING, Any

from deployd import sandbox
from deployd.stages.build.left import read_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deployd.domain.stages import PackageManager

_ASIDE = ".deployd-packages"
_PNPM_WITH_OPTION = (10, 14)
_LEFT_OUT = ("dependencies", "optionalDependencies", "peerDependencies", "engines", "bin", "optional", "dev")


def own_cpu() -> str:
    """The CPU of this machine."""
    return "arm64" if platform.machine() in {"aarch64", "arm64"} else "x64"


def with_cpu(install: tuple[str, ...], *, name: PackageManager, version: str | None, cpu: str) -> tuple[str, ...]:
    """The install that brings the packages for `cpu` too, where the package manager can; npm's own goes unchanged."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version or "")[:2])
    match name:
        case "pnpm" if numbers >= _PNPM_WITH_OPTION:
            return (*install, f"--cpu={own_cpu()}", f"--cpu={cpu}", "--os=linux", "--libc=glibc")
        case "bun":
            return (*install, "--cpu", own_cpu(), "--cpu", cpu, "--os", "linux")
        case "yarn" if numbers[:1] == (1,):
            return (*install, "--ignore-platform")
        case "yarn":
            wish = json.dumps({"cpu": ["current", cpu]})
            setting = f"yarn config set --home supportedArchitectures --json '{wish}'"
            return ("sh", "-c", f"{setting} && {' '.join(install)}")
        case _:
            return install


def add_npms(folder: Path, *, lockfile: Path, cpu: str, install: Callable[[tuple[str, ...], Path], None]) -> list[str]:
    """Install npm's packages for `cpu` into `folder`, where its lock file lies; returns their places.

    `install` runs an argv in a folder. Versions and hashes are the lock file's. Raises what `install` raises.
    """
    places = {
        f"package-{number}": (place, entry)
        for number, (place, entry) in enumerate(_wanted(read_json(lockfile), folder=folder, cpu=cpu))
    }
    if not places:
        return []
    aside = folder / _ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        needs = {name: f"npm:{_name(place)}@{entry['version']}" for name, (place, entry) in places.items()}
        top = {"name": "aside", "version": "1.0.0", "dependencies": needs}
        packages: dict[str, Any] = {"": top}
        for name, (place, entry) in places.items():
            kept = {key: value for key, value in entry.items() if key not in _LEFT_OUT}
            packages[f"node_modules/{name}"] = {"name": _name(place), **kept}
        lock = {"name": "aside", "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": packages}
        (aside / "package.json").write_text(json.dumps(top))
        (aside / "package-lock.json").write_text(json.dumps(lock))
        if (folder / ".npmrc").is_file():
            shutil.copyfile(folder / ".npmrc", aside / ".npmrc")
        sandbox.give(aside)
        install(("npm", "ci", "--force", "--ignore-scripts", "--no-audit", "--no-fund"), aside)
        for name, (place, _) in places.items():
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            (aside / "node_modules" / name).rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return sorted(place for place, _ in places.values())


def _wanted(lock: dict[str, Any], *, folder: Path, cpu: str) -> list[tuple[str, dict[str, Any]]]:
    """The lock file's packages for that CPU whose dependent was installed, and that are not there yet."""
    found = []
    packages = lock.get("packages")
    for place, entry in packages.items() if isinstance(packages, dict) else ():
        if not isinstance(entry, dict) or not entry.get("optional") or not isinstance(entry.get("version"), str):
            continue
        cpus, systems, libcs = (entry.get(key) for key in ("cpu", "os", "libc"))
        fits = isinstance(cpus, list) and cpu in cpus and own_cpu() not in cpus
        fits = fits and (not systems or "linux" in systems) and (not libcs or "glibc" in libcs)
        if fits and _is_place(place, folder) and not (folder / place).exists():
            found.append((place, entry))
    return found


def _is_place(place: str, folder: Path) -> bool:
    """Whether a package may be put there: in a node_modules that was installed, inside of the folder."""
    if not re.fullmatch(r"(?:[^/]+/)*?node_modules/(?:@[^/]+/)?[^/@][^/]*", place) or ".." in place.split("/"):
        return False
    modules = folder / place.rpartition("node_modules/")[0] / "node_modules"
    scope = (folder / place).parent
    real = folder.resolve()
    there = next(path for path in (scope, *scope.parents) if path.exists())
    return modules.is_dir() and there.resolve().is_relative_to(real)


def _name(place: str) -> str:
    return place.rpartition("node_modules/")[2]
