"""Files from every way of finding them -> one set, by place: secrets and source maps left out, doubts told."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.quantity import format_size
from deployd.stages.trace import secrets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployd.domain.stages import TracedFile

_LARGE = 100_000_000
_MAPS = (".js.map", ".mjs.map", ".cjs.map", ".css.map")


class Found:
    """The files found so far, by their place in the artifact; what may not travel is kept apart."""

    def __init__(self, *, writable: dict[str, str] | None = None, source_maps: bool = False) -> None:
        self.files: dict[str, TracedFile] = {}
        self.writable = dict(writable or {})
        self.told: list[str] = []
        self._source_maps = source_maps
        self._folders: dict[str, int] = {}
        self._left_out: set[str] = set()
        self._written = tuple(f"{path}/" for path in self.writable.values())

    def add(self, files: Iterable[TracedFile], *, maps: bool = False) -> list[str]:
        """Take files in; returns the places that are new. Source maps only if they are wanted, or with `maps`."""
        new: list[str] = []
        for file in files:
            path = file.path
            if f"{path}/".startswith(self._written) or (path.endswith(_MAPS) and not (maps or self._source_maps)):
                continue  # the host puts a writable place there
            if secrets.is_secret(path) or _holds_key(file):
                self._left_out.add(path)
                continue
            if path not in self.files:
                if file.symlink is not None and path in self._folders:
                    continue  # its files were copied there
                new.append(path)
                self._count(path, 1)
            self.files[path] = file
        return new

    def drop(self, path: str) -> None:
        """Leave a file out again."""
        if self.files.pop(path, None) is not None:
            self._count(path, -1)

    def has(self, path: str) -> bool:
        """Whether a place is taken or refused, or leads through a link that is there (a package of pnpm's)."""
        if path in self.files or path in self._left_out:
            return True
        return any(self._is_link(above) for above in _above(path))

    def below(self, folder: str) -> bool:
        """Whether a file lies below a folder."""
        return folder in self._folders

    def warnings(self) -> tuple[str, ...]:
        """What a person should know about the set."""
        told = [f"left out, because it can hold secrets: {path}{_way(path)}" for path in sorted(self._left_out)]
        told += self.told
        for path in sorted(self.files):
            file = self.files[path]
            if file.symlink is not None and not self._leads(path, file.symlink):
                lost = "" if Path(file.source).exists() else "a link to nothing: "
                told.append(f"{lost or 'a link to what does not travel: '}{path} -> {file.symlink}")
            if file.size >= _LARGE:
                told.append(f"a large file, which every host gets: {path} ({format_size(file.size)})")
        return tuple(told)

    def _count(self, path: str, change: int) -> None:
        for folder in _above(path):
            left = self._folders.get(folder, 0) + change
            if left:
                self._folders[folder] = left
            else:
                del self._folders[folder]

    def _is_link(self, path: str) -> bool:
        return path in self.files and self.files[path].symlink is not None

    def _leads(self, path: str, target: str) -> bool:
        goal = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        return goal in self._folders or goal == "." or self.has(goal) or self._is_written(goal)

    def _is_written(self, path: str) -> bool:
        return f"{path}/".startswith(self._written)


def _holds_key(file: TracedFile) -> bool:
    return file.symlink is None and secrets.holds_key(file.path, source=file.source, size=file.size)


def _way(path: str) -> str:
    name = path.rpartition("/")[2]
    is_example = any(word in name for word in ("example", "sample", "template"))
    if name.endswith(".json"):
        return f" (what it says for the server: deployd env set NAME=- < {path})"
    is_values = name.startswith(".env") and not is_example
    return f" (its values for the server: deployd env import {name})" if is_values else ""


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:number]) for number in range(1, len(parts))]
