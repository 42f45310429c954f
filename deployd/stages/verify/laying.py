"""Manifest and objects -> a folder as a host would lay it out, of hard links: 1,300 files in hundredths of a second.

Nothing is copied but the folders that the server writes over: the objects are shown read-only, so a link is enough.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import sandbox
from deployd.domain.artifact import FileEntry, Manifest
from deployd.errors import PackageError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """A laid out artifact: `tree` is read-only, `writable` maps places in it (relative) to folders of their own."""

    tree: Path
    writable: Mapping[str, Path]


def lay_out(manifest: Manifest, *, artifacts: Path, into: Path) -> Laid:
    """Lay an artifact out below `into`, which is there; raises PackageError when an object is missing."""
    tree = into / "tree"
    top = str(tree)
    for folder in _folders(manifest):
        place = f"{top}/{folder}" if folder else top
        os.mkdir(place)  # noqa: PTH102 - 1,300 files: text is quicker than Path here
        os.chmod(place, 0o755)  # noqa: PTH101, S103 - the artifact holds it, and only its owner reaches the folder above
    shared = sandbox.account() is not None
    for entry in manifest.files:
        to = f"{top}/{entry.path}"
        if isinstance(entry, FileEntry):
            _place(f"{artifacts}/objects/{entry.sha256[:2]}/{entry.sha256}", to, entry=entry, shared=shared)
        else:
            os.symlink(entry.target, to)  # noqa: PTH211 - text is quicker
    (tree / ".deployd").mkdir(mode=0o755, exist_ok=True)
    (tree / ".deployd" / "node").touch(mode=0o755)  # the pinned Node.js is put there, as on a host
    writable = {place: into / f"writable-{number}" for number, place in enumerate(manifest.writable.values())}
    for own in writable.values():
        own.mkdir(mode=0o700)
    for number, place in enumerate(manifest.seeded.values()):
        writable[place] = into / f"seeded-{number}"
        if (tree / place).is_dir():
            shutil.copytree(tree / place, writable[place], symlinks=True, copy_function=_copy)
        else:
            writable[place].mkdir(mode=0o700)
            (tree / place).mkdir(mode=0o755, parents=True)
    for own in writable.values():
        sandbox.give(own)
    return Laid(tree=tree, writable=writable)


def _folders(manifest: Manifest) -> list[str]:
    """Every folder, parents first; writable places are empty ones."""
    found = {""}
    for path in [*(entry.path for entry in manifest.files), *(f"{place}/x" for place in manifest.writable.values())]:
        folder = path.rpartition("/")[0]
        while folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return sorted(found)


def _place(source: str, to: str, *, entry: FileEntry, shared: bool) -> None:
    try:
        if shared:  # another user reads it; who reaches it is for the state folder, which is its owner's alone
            mode = os.stat(source).st_mode & 0o777  # noqa: PTH116 - text is quicker
            wanted = mode | (0o555 if entry.mode & 0o100 else 0o444)
            if mode != wanted:
                os.chmod(source, wanted)  # noqa: PTH101 - text is quicker
        elif entry.mode & 0o100:
            os.chmod(source, 0o500)  # noqa: PTH101 - text is quicker
        os.link(source, to)
    except FileNotFoundError as error:
        raise PackageError(
            f"the content of {entry.path!r} is missing from deployd's artifacts",
            code="artifact-missing",
            fix="build it again: deployd release --no-cache",
        ) from error
    except OSError:  # another file system, or it has as many links as there can be
        _copy(source, to)
        Path(to).chmod(entry.mode)


def _copy(source: str, to: str) -> str:
    shutil.copyfile(source, to)
    facts = os.stat(source)  # noqa: PTH116 - text is quicker
    os.utime(to, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # Next.js 16 compares it with a page's expiry
    os.chmod(to, 0o644)  # noqa: PTH101 - text is quicker
    return to
