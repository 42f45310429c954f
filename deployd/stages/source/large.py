"""Git LFS: a pointer in the tree is replaced by its content, or refused by name; a pointer is never shipped."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.errors import SourceError
from deployd.stages.source import git

if TYPE_CHECKING:
    from deployd.stages.source.mirror import Mirror

_FIRST_LINE = b"version https://git-lfs.github.com/spec/v1\n"
_POINTER = re.compile(_FIRST_LINE.replace(b".", rb"\.") + rb"(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize \d+\n")
_LONGEST = 1024


def fill(into: Path, *, found: Mirror, commit: str) -> None:
    """Put the content of every LFS pointer below `into` in its place; raises SourceError that names the files."""
    pointers = dict(_pointers(into, found=found, commit=commit))
    if not pointers:
        return
    if any(_object(oid, found=found) is None for oid in pointers.values()):
        git.run("lfs", "fetch", found.repository, commit, git_dir=found.git_dir, check=False)
    missing = [path for path, oid in pointers.items() if not _put(into / path, oid, found=found)]
    if missing:
        raise SourceError(
            f"{len(missing)} Git LFS files could not be had: {', '.join(missing[:5])}",
            code="lfs-missing",
            fix="install git-lfs on this machine and run `git lfs fetch --all`, or see the LFS server's credentials",
        )


def _pointers(into: Path, *, found: Mirror, commit: str) -> list[tuple[str, str]]:
    listing = git.run("ls-tree", "-r", "-l", "-z", commit, git_dir=found.git_dir).stdout
    pointers: list[tuple[str, str]] = []
    for line in listing.decode(errors="surrogateescape").split("\0"):
        head, _, path = line.partition("\t")
        fields = head.split()
        if len(fields) != 4 or not fields[0].startswith("100") or int(fields[3]) > _LONGEST:  # noqa: PLR2004
            continue
        match = _POINTER.fullmatch((into / path).read_bytes())
        if match:
            pointers.append((path, match[1].decode()))
    return pointers


def _stores(found: Mirror) -> list[Path]:
    stores = [found.git_dir / "lfs" / "objects"]
    if git.is_local(found.repository):
        common = git.run("rev-parse", "--git-common-dir", cwd=Path(found.repository)).text.strip()
        stores.append(Path(found.repository) / common / "lfs" / "objects")
    return stores


def _object(oid: str, *, found: Mirror) -> Path | None:
    places = (store / oid[:2] / oid[2:4] / oid for store in _stores(found))
    return next((place for place in places if place.is_file()), None)


def _put(path: Path, oid: str, *, found: Mirror) -> bool:
    place = _object(oid, found=found)
    if place is None:
        return False
    with place.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != oid:
            return False
    shutil.copyfile(place, path)
    return True
