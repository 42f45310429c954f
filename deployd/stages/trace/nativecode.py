"""Packages of a set of files whose native code is not in it -> the set with what this platform would load of them.

A tracer sees no native code whose path is made when the server runs (aws-crt: `dist/bin/linux-x64-glibc/`). So a
package that has none which fits, and has some on the disk that does, gets that, with the libraries beside it.
"""

from __future__ import annotations

import functools
import os
import platform
from collections import defaultdict
from typing import TYPE_CHECKING

from deployd import elf
from deployd.stages.trace import tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployd.stages.trace.found import Found

_PREBUILT = "prebuilds"  # node-gyp-build chooses among these, by more than the platform (a Node version, an ABI)
_SKIP = {"node_modules", "obj.target", "obj", "test", "tests", "__tests__", "src", "deps", "docs"}
_NONE = {"next", "react", "react-dom"}  # packages that every app has, large, without native code of their own
_MOST = 20_000  # files that are looked at in one package


def add(found: Found, *, root: Path, unwanted: str) -> None:
    """Take native code of packages that are there without any that fits; none of what `unwanted` names."""
    packages, natives = [], defaultdict(list)
    for path in found.files:
        if path.endswith("/package.json") and "node_modules/" in path:
            packages.append(path.removesuffix("/package.json"))
        elif path.endswith(".node"):
            natives[_package(path)].append(path)
    for at in packages:
        name = at.rpartition("node_modules/")[2]
        if name in _NONE or f"node_modules/{name}" in unwanted or name.count("/") > name.startswith("@"):
            continue
        if any(fits(root / path, path=path.removeprefix(at)) for path in natives[at]):
            continue
        for path in _native(root / at):
            place = os.path.relpath(path, root)
            if not found.has(place):
                found.add(tree.Root(root).take(place, reasons=(f"native code of {name}",)))


@functools.cache
def own() -> elf.Fleet:
    """This machine's platform, which is what the app was installed for."""
    return elf.Fleet(cpu="arm64" if platform.machine() in {"aarch64", "arm64"} else "x64", libc="glibc")


def fits(file: Path, *, path: str) -> bool:
    """Whether a file is native code that this machine can load; `path` is its place in its package."""
    if elf.names_another(path, own()):
        return False
    try:
        found = elf.read(file, path=path)
    except OSError:
        return False
    return found is not None and found.fits(own())


def _native(package: Path) -> Iterator[str]:
    """The files of a package to take: what fits, and the libraries in the folder of each."""
    for folder, names in _folders(package):
        below = os.path.relpath(folder, package)
        prebuilt = below.startswith(f"{_PREBUILT}/linux")
        taken = [
            name for name in names
            if name.endswith(".node") and (prebuilt or fits(package / below / name, path=f"{below}/{name}"))
        ]  # fmt: skip
        if taken:
            libraries = [name for name in names if name.endswith(".so") or ".so." in name]
            yield from (f"{folder}/{name}" for name in (*taken, *libraries))


def _folders(package: Path) -> Iterator[tuple[str, list[str]]]:
    left = _MOST
    for folder, below, names in os.walk(package):
        below[:] = sorted(name for name in below if name not in _SKIP)
        left -= len(names)
        if left < 0:
            return
        yield folder, sorted(names)


def _package(path: str) -> str:
    """The folder of the package that a file belongs to."""
    above, _, name = path.rpartition("node_modules/")
    return f"{above}node_modules/{'/'.join(name.split('/')[: 2 if name.startswith('@') else 1])}"
