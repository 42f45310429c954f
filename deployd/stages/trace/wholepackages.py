"""Packages that run as commands, or are loaded by name -> all their files, with all that they need."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.stages.trace import manifests, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployd.domain.stages import TracedFile

_MOST = 2000  # packages
_TARGET = re.compile(r'"\$basedir/([^"]+)"')  # what a command of pnpm's, a shell script, runs


def command(name: str, *, app_dir: Path, root: Path) -> Path | None:
    """The file of a package's command in a `node_modules/.bin` that the app sees; None when there is none."""
    if not re.fullmatch(r"[\w@.-]+", name):
        return None
    for folder in (app_dir, *app_dir.parents):
        found = folder / "node_modules" / ".bin" / name
        if found.is_file():
            return found
        if folder == root:
            return None
    return None


def files(commands: list[Path], *, app_dir: Path, root: Path) -> Iterator[TracedFile]:
    """The commands themselves, and each file of their packages and of what these need, as it is installed."""
    taken = tree.Root(root)
    waiting: list[tuple[Path, str]] = []
    for path in commands:
        yield from taken.take(os.path.relpath(path, root), reasons=("a command that runs before the release",))
        package = _package_of(path)
        if package is not None:
            waiting.append((package, f"`{path.name}` runs before the release"))
            link = installed(_name(package), app_dir, root=root)
            if link is not None:
                yield from taken.take(os.path.relpath(link, root), reasons=("a command's package",))
    yield from whole(waiting, root=root)


def whole(packages: list[tuple[Path, str]], *, root: Path) -> Iterator[TracedFile]:
    """Every file of packages, each with the reason for it, and of what these need; and links to them."""
    taken = tree.Root(root)
    waiting = list(packages)
    for first, why in packages:
        if first.is_symlink():
            yield from taken.take(os.path.relpath(first, root), reasons=(why,))
    seen: set[Path] = set()
    real_root = Path(os.path.realpath(root))
    while waiting and len(seen) < _MOST:
        package, why = waiting.pop(0)
        real = Path(os.path.realpath(package))
        if real in seen or not real.is_relative_to(real_root):
            continue
        seen.add(real)
        at = os.path.relpath(real, real_root)
        yield from tree.walk(root / at, at=at, reason=why, root=root, skip=f"{at}/node_modules".__eq__)
        facts = manifests.read(real / "package.json")
        for kind in ("dependencies", "optionalDependencies", "peerDependencies"):
            for name in facts.get(kind) or {}:
                link = installed(name, real, root=real_root)
                if link is not None:
                    place = os.path.relpath(link, real_root)
                    yield from taken.take(place, reasons=(f"needed by {at}",))
                    waiting.append((link, f"needed by {at}"))


def _package_of(path: Path) -> Path | None:
    """The folder of the package that a command belongs to."""
    real = Path(os.path.realpath(path))
    if not path.is_symlink():
        named = _TARGET.search(path.read_text(errors="replace"))
        real = Path(os.path.realpath(path.parent / named[1])) if named else real
    for folder in real.parents:
        if folder.name in {"node_modules", ".bin"}:
            return None
        if (folder / "package.json").is_file() and _name(folder):
            return folder
    return None


def _name(package: Path) -> str:
    name = manifests.read(package / "package.json").get("name")
    return name if isinstance(name, str) else ""


def installed(name: str, start: Path, *, root: Path) -> Path | None:
    """The place of a package as code in the folder `start` finds it; None when it is not installed below `root`."""
    for folder in (start, *start.parents):
        if folder.name != "node_modules" and (folder / "node_modules" / name / "package.json").is_file():
            return folder / "node_modules" / name
        if folder == root:
            return None
    return None
