"""A path or module that was looked for -> whether the checkout has it, and the glob that would bring it along."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deployd.domain.artifact import Manifest

_ENDINGS = ("", ".js", ".json", ".node", ".cjs", ".mjs", "/package.json", "/index.js", "/index.json", "/index.node")
_MOST_PACKAGES = 100
_KINDS = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")
_MAGIC = re.compile(r"[\[\](){}*\\]|^!")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """The tree that was built and traced. `root` is the folder that is the artifact's root, `place` the app's in it."""

    root: Path
    place: str = ""

    @classmethod
    def of(cls, manifest: Manifest, *, app_dir: Path, top: Path) -> Checkout:
        """Find which folder between the app's and `top`, the repository's, stands at the artifact's root.

        A file of the artifact that lies in the app's folder says it: `apps/web/package.json` for `TOP/apps/web`.
        """
        places = [
            PurePosixPath(app_dir.relative_to(folder)) for folder in (app_dir, *app_dir.parents) if _in(folder, top)
        ]
        names = {entry.path for entry in manifest.files}
        for place in reversed(places):  # the longest first
            prefix = "" if str(place) == "." else f"{place}/"
            own = any(f"{prefix}{name}" in names for name in ("package.json", "server.js")) or (
                manifest.entry.startswith(prefix) and (app_dir / manifest.entry.removeprefix(prefix)).exists()
            )
            if own and (not prefix or any(name.startswith(prefix) for name in names)):
                return cls(root=app_dir.parents[len(place.parts) - 1] if prefix else app_dir, place=prefix.rstrip("/"))
        return cls(root=app_dir)

    def has(self, path: str) -> bool:
        """Whether a path of the artifact is a file, folder or link of the checkout."""
        return os.path.lexists(self.root / path)

    def module(self, request: str, *, importer: str | None) -> str | None:
        """Where the checkout has a module: a file, or a package's folder, as a path of the artifact; else None.

        `importer` is the path in the artifact of the file that asked; without one it is taken to be the app's own.
        """
        folder = PurePosixPath(importer).parent if importer else PurePosixPath(self.place or ".")
        if request.startswith("."):
            return self._file(os.path.normpath(folder / request))
        if request.startswith(("/", "#", "node:")):  # an absolute path was made one of the artifact's before
            return None
        name = _package(request)
        for above in (folder, *folder.parents):
            if above.name == "node_modules":
                continue
            found = str(above / "node_modules" / name)
            if self.has(found):
                return found
        return None

    def names(self, request: str) -> bool:
        """Whether the app's package.json, or the one at the top, asks for the package of a module."""
        if request.startswith((".", "/", "#", "node:", "file:")):
            return False
        name = _package(request)
        return any(name in _wanted(folder / "package.json", _KINDS) for folder in (self.root / self.place, self.root))

    def _file(self, path: str) -> str | None:
        if path.startswith("../"):
            return None
        return next((path + ending for ending in _ENDINGS if (self.root / (path + ending)).is_file()), None)

    def needs(self, package: str) -> tuple[str, ...]:
        """The folder of a package and those of all that its package.json depends on, as paths of the artifact."""
        found = {package: None}
        waiting = [package]
        while waiting and len(found) < _MOST_PACKAGES:
            here = waiting.pop()
            real = os.path.relpath(os.path.realpath(self.root / here), os.path.realpath(self.root))
            for name in _wanted(self.root / here / "package.json", ("dependencies", "optionalDependencies")):
                where = self.module(name, importer=f"{real}/package.json")
                if where is not None and where not in found:
                    found[where] = None
                    waiting.append(where)
        return tuple(found)

    def find(self, name: str, *, below: str) -> str | None:
        """A file of that name in the package that `below` lies in, or in its neighbours; else None."""
        parts = PurePosixPath(below).parts
        last = max((at for at, part in enumerate(parts) if part == "node_modules"), default=None)
        folder = self.root.joinpath(*parts[: last + 1]) if last is not None else self.root / self.place
        for here, folders, files in os.walk(folder, followlinks=False):
            if name in files:
                return str(Path(here, name).relative_to(self.root))
            folders[:] = [one for one in folders if one not in (".git", "cache")]
        return None

    def globs(self, path: str) -> tuple[str, ...]:
        """The globs, from the app's folder, that bring a path along: a folder with all in it, a link and its target."""
        found = [self._glob(path)]
        real = Path(os.path.realpath(self.root / path))
        top = Path(os.path.realpath(self.root))
        if (self.root / path).is_symlink() and real.is_relative_to(top):
            found = [self._relative(path), self._glob(str(real.relative_to(top)))]
        return tuple(dict.fromkeys(found))

    def _glob(self, path: str) -> str:
        return self._relative(path) + ("/**" if (self.root / path).is_dir() else "")

    def _relative(self, path: str) -> str:
        return plain(os.path.relpath(path, self.place or "."))


def _package(request: str) -> str:
    """The package that a module is of: `pg` for `pg/lib/x`."""
    return "/".join(request.split("/")[: 2 if request.startswith("@") else 1])


def _wanted(manifest: Path, kinds: tuple[str, ...]) -> dict[str, None]:
    """The packages that a package.json asks for; none where it cannot be read."""
    try:
        facts = json.loads(manifest.read_text())
        return {name: None for kind in kinds for name in facts.get(kind) or {}}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def plain(path: str) -> str:
    """A path as a glob that matches it: `?` stands for each character that globs give a meaning."""
    return _MAGIC.sub("?", path)


def _in(folder: Path, top: Path) -> bool:
    return folder == top or top in folder.parents
