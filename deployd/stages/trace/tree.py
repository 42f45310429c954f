"""A folder or a path of this machine -> the files and links to take for it, never anything outside of its root."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from deployd.domain.stages import TracedFile
from deployd.errors import PackageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_MOST_LINKS = 40  # as the kernel


def walk(
    folder: Path, *, at: str, reason: str, skip: Callable[[str], bool] | None = None, root: Path | None = None
) -> Iterator[TracedFile]:
    """Every regular file and link below `folder`, placed at `at` in the artifact; raises PackageError.

    `skip` is asked with the place of each file, link and folder. Refused by name: a link that is absolute or leads out
    of `folder` (of `root`, if that is given: the folder that all places are relative to), and what is neither file nor
    link nor folder.
    """
    real, top = os.path.realpath(root or folder), "" if root else at
    pending = [(str(folder), at)]
    while pending:
        here, place = pending.pop()
        for entry in _entries(here, place=place):
            path = f"{place}/{entry.name}" if place else entry.name
            if skip is not None and skip(path):
                continue
            facts = entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(facts.st_mode):
                target = checked_target(_target_of(entry.path, real=real), path=path, top=top)
                if not f"{os.path.realpath(entry.path)}/".startswith(f"{real}/"):  # through another link
                    raise _escapes(path, target)
                if _is_loop(entry.path):
                    raise _circle(path, target)
                yield TracedFile(path=path, source=entry.path, size=0, symlink=target, reasons=(reason,))
            elif stat.S_ISDIR(facts.st_mode):
                pending.append((entry.path, path))
            elif stat.S_ISREG(facts.st_mode):
                yield TracedFile(path=path, source=entry.path, size=facts.st_size, reasons=(reason,))
            else:
                raise _odd(path)


def _entries(folder: str, *, place: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError as error:
        raise PackageError(
            f"the folder {place or folder!r} could not be read: {error.strerror}",
            code="package-failed",
            fix="see its mode: the build must leave its folders readable",
        ) from error


def _target_of(link: str, *, real: str) -> str:
    """A link's target as it stands; one that names its own tree by an absolute path becomes relative."""
    target = os.readlink(link)  # noqa: PTH115 - text as it stands
    return os.path.relpath(target, os.path.dirname(link)) if f"{target}/".startswith(f"{real}/") else target  # noqa: PTH120


def _is_loop(link: str) -> bool:
    try:
        os.stat(link)  # noqa: PTH116 - text is quicker
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


class Root:
    """The folder that named files are taken from: a path comes in, the links on its way and the file itself go out."""

    def __init__(self, root: Path) -> None:
        self.path = str(root)
        self._kinds: dict[str, tuple[str, int] | None] = {}

    def take(self, path: str, *, reasons: tuple[str, ...], parents: tuple[str, ...] = ()) -> list[TracedFile]:
        """The file or link at `path` (relative to the root), and every link on the way to it.

        Empty when nothing is there, or a folder. A link stays one; an absolute target inside of the root becomes
        relative. Raises PackageError for a link that leads out of the root, or in a circle.
        """
        found: list[TracedFile] = []
        parts, here = path.split("/"), ""
        for _ in range(_MOST_LINKS):
            for number, part in enumerate(parts):
                here = f"{here}/{part}" if here else part
                kind = self._kind(here)
                if kind is None:
                    return found
                what, size = kind
                last = number == len(parts) - 1
                if what.startswith("->"):
                    target = self._target(here, what[2:])
                    found.append(self._file(here, reasons=reasons, parents=parents, symlink=target))
                    if last:
                        return found
                    here_parts = os.path.normpath(os.path.join(os.path.dirname(here), target)).split("/")  # noqa: PTH118, PTH120
                    parts, here = [*here_parts, *parts[number + 1 :]], ""
                    break
                if last and what == "file":
                    found.append(self._file(here, reasons=reasons, parents=parents, size=size))
                if last and what == "odd":
                    raise _odd(here)
            else:
                return found
        raise _circle(path, f"more than {_MOST_LINKS} links")

    def _file(
        self,
        path: str,
        *,
        reasons: tuple[str, ...],
        parents: tuple[str, ...],
        size: int = 0,
        symlink: str | None = None,
    ) -> TracedFile:
        source = f"{self.path}/{path}"
        return TracedFile(path=path, source=source, size=size, symlink=symlink, reasons=reasons, parents=parents)

    def _kind(self, path: str) -> tuple[str, int] | None:
        if path not in self._kinds:
            self._kinds[path] = _look(f"{self.path}/{path}")
        return self._kinds[path]

    def _target(self, path: str, target: str) -> str:
        if target.startswith(f"{self.path}/"):
            return os.path.relpath(target, os.path.dirname(f"{self.path}/{path}"))  # noqa: PTH120
        return checked_target(target, path=path, top="")


def _look(path: str) -> tuple[str, int] | None:
    try:
        facts = os.lstat(path)
    except (OSError, ValueError):
        return None
    if stat.S_ISLNK(facts.st_mode):
        return f"->{os.readlink(path)}", 0  # noqa: PTH115 - text as it stands
    if stat.S_ISDIR(facts.st_mode):
        return "folder", 0
    return ("file", facts.st_size) if stat.S_ISREG(facts.st_mode) else ("odd", 0)


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
        fix="replace the link by a copy of what it points to, or remove it; what lies in the same repository is inside "
        "when the root of tracing is (trace.root in deployd.toml, --base with --entry)",
    )


def _circle(path: str, target: str) -> PackageError:
    return PackageError(
        f"{path!r} leads to {target!r}, and in a circle back to itself",
        code="symlink-loop",
        fix="remove the link that points to itself",
    )


def _odd(path: str) -> PackageError:
    return PackageError(
        f"{path!r} is neither a file, a folder nor a link", code="file-kind-refused", fix="remove it from the app"
    )
