"""Git LFS: a pointer in the tree is replaced by its content, or refused by name; a pointer is never shipped."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.errors import SourceError
from deployd.stages.source import git

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FIRST_LINE = b"version https://git-lfs.github.com/spec/v1\n"
_POINTER = re.compile(_FIRST_LINE.replace(b".", rb"\.") + rb"(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize \d+\n")
_LONGEST = 1024


def fill(into: Path, *, repository: str, mirror: Path | None = None, commit: str | None = None) -> None:
    """Put the content of every LFS pointer below `into` in its place; raises SourceError that names the files.

    It comes from the repository's own store, or from the mirror's, into which it is fetched if need be.
    """
    pointers = dict(_pointers(into))
    if not pointers:
        return
    stores = _stores(repository, mirror)
    if mirror and commit and any(_object(oid, stores) is None for oid in pointers.values()):
        git.run("lfs", "fetch", repository, commit, git_dir=mirror, check=False)
    missing = sorted(path for path, oid in pointers.items() if not _put(into / path, oid, stores))
    if missing:
        raise SourceError(
            f"{len(missing)} Git LFS file(s) could not be had: {', '.join(missing[:5])}",
            code="lfs-missing",
            fix="install git-lfs on this machine and run `git lfs fetch --all`, or see the LFS server's credentials",
        )


def _pointers(into: Path) -> Iterator[tuple[str, str]]:
    for here, folders, files in os.walk(into):
        folders[:] = [name for name in folders if name != ".git"]
        for name in files:
            path = Path(here) / name
            if path.is_symlink() or path.stat().st_size > _LONGEST:
                continue
            match = _POINTER.fullmatch(path.read_bytes())
            if match:
                yield path.relative_to(into).as_posix(), match[1].decode()


def _stores(repository: str, mirror: Path | None) -> list[Path]:
    stores = [mirror / "lfs" / "objects"] if mirror else []
    if git.is_local(repository) and git.top(Path(repository)):
        common = git.run("rev-parse", "--git-common-dir", cwd=Path(repository)).text.strip()
        stores.append(Path(repository) / common / "lfs" / "objects")
    return stores


def _object(oid: str, stores: Sequence[Path]) -> Path | None:
    places = (store / oid[:2] / oid[2:4] / oid for store in stores)
    return next((place for place in places if place.is_file()), None)


def _put(path: Path, oid: str, stores: Sequence[Path]) -> bool:
    place = _object(oid, stores)
    if place is None:
        return False
    with place.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != oid:
            return False
    shutil.copyfile(place, path)
    return True
