"""folder -> its files and links, never anything outside of it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from deployd.domain.stages import TracedFile
from deployd.errors import PackageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def walk(folder: Path, *, at: str, reason: str) -> Iterator[TracedFile]:
    """Every regular file and link below `folder`, placed at `at` in the artifact; raises PackageError.

    Refused by name: a link that is absolute or leads out of `folder`, and what is neither file nor link nor folder.
    """
    top = os.path.realpath(folder)
    pending = [(str(folder), at)]
    while pending:
        here, place = pending.pop()
        with os.scandir(here) as entries:
            for entry in entries:
                path = f"{place}/{entry.name}" if place else entry.name
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISLNK(facts.st_mode):
                    target = checked_target(os.readlink(entry.path), path=path, top=at)  # noqa: PTH115 - text as it stands
                    if not f"{os.path.realpath(entry.path)}/".startswith(f"{top}/"):  # through another link
                        raise _escapes(path, target)
                    yield TracedFile(path=path, source=entry.path, size=0, symlink=target, reasons=(reason,))
                elif stat.S_ISDIR(facts.st_mode):
                    pending.append((entry.path, path))
                elif stat.S_ISREG(facts.st_mode):
                    yield TracedFile(path=path, source=entry.path, size=facts.st_size, reasons=(reason,))
                else:
                    raise PackageError(
                        f"{path!r} is neither a file, a folder nor a link",
                        code="file-kind-refused",
                        fix="remove it from the app",
                    )


def checked_target(target: str, *, path: str, top: str) -> str:
    """A link's target, if it stays below `top`; raises PackageError that names the link."""
    depth = path.count("/") - (top.count("/") + 1 if top else 0)
    for part in target.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0 or target.startswith("/"):
            raise _escapes(path, target)
    return target


def _escapes(path: str, target: str) -> PackageError:
    return PackageError(
        f"{path!r} is a link to {target!r}, which lies outside of the app",
        code="symlink-escapes",
        fix="replace the link by a copy of what it points to, or remove it",
    )
