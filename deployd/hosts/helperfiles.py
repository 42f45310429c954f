"""The helper's files in `playbooks/files` come in, one archive for hosts goes out, named by their content."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

from deployd import paths

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENTRY, PACKAGE = "deployd-host", "deployd_host"


def entry() -> Path:
    """The file that starts the helper, with its package beside it."""
    return paths.data_dir("playbooks") / "files" / ENTRY


def names() -> list[str]:
    """All of its files, relative to the folder of `entry()`, sorted."""
    folder = entry().parent
    return [ENTRY, *sorted(str(path.relative_to(folder)) for path in (folder / PACKAGE).glob("*.py"))]


def version() -> str:
    """The name of this content: 16 hexadecimal digits."""
    return _version_of(_contents())


def pack(to: Path) -> str:
    """Write all of it as a tar archive, root's, below a folder that is named by the version; returns the version.

    Equal files make equal archives, so unpacking one a second time changes nothing.
    """
    contents = _contents()
    name_of_all = _version_of(contents)
    with tarfile.open(to, "w", format=tarfile.USTAR_FORMAT) as archive:
        for folder in (name_of_all, f"{name_of_all}/{PACKAGE}"):
            member = _member(folder, mode=0o755)
            member.type = tarfile.DIRTYPE
            archive.addfile(member)
        for name, data in contents.items():
            member = _member(f"{name_of_all}/{name}", mode=0o755 if name == ENTRY else 0o644)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return name_of_all


def _contents() -> dict[str, bytes]:
    folder = entry().parent
    return {name: (folder / name).read_bytes() for name in names()}


def _version_of(contents: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, data in contents.items():
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:16]


def _member(name: str, *, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode, member.mtime, member.uname, member.gname = mode, 1_000_000_000, "root", "root"
    return member
