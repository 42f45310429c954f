"""BuildOutput -> FileSet, from the standalone tree that Next.js made: checked, completed, and without secrets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.stages import BuildOutput, FileSet, TracedFile
from deployd.errors import PackageError
from deployd.stages.trace import manifests, nft, routes, secrets, tree

if TYPE_CHECKING:
    from collections.abc import Iterable

_PRERENDERED = ("server/app/", "server/pages/")


def trace(output: BuildOutput) -> FileSet:
    """Find the files of a standalone build; raises PackageError when it is incomplete or a link points out of it."""
    app_dir = Path(output.app_dir)
    dist = app_dir / ".next"
    place = _place(dist)
    found = _Found(
        writable={"cache": _join(place, ".next/cache"), "route-cache": _join(place, ".next/server/route-cache")}
    )
    found.add(tree.walk(dist / "standalone", at="", reason="standalone"))
    entry = _join(place, "server.js")
    if entry not in found.files:
        raise PackageError(
            f"the standalone tree has no {entry}",
            code="standalone-incomplete",
            fix="build again without the cache: deployd release --no-cache",
        )
    root = app_dir.parents[len(Path(place).parts) - 1] if place else app_dir
    found.add(nft.lacking(dist, root=root, place=place, has=found.has), late=True)
    for folder, at in ((app_dir / "public", "public"), (dist / "static", ".next/static")):
        if folder.is_dir():
            found.add(tree.walk(folder, at=_join(place, at), reason=at))
    rules = routes.read(dist)
    assets, public = _join(place, ".next/static"), _join(place, "public")
    return FileSet(
        root=output.root,
        entry=entry,
        files=tuple(_timed(found.files[path], dist=_join(place, ".next/")) for path in sorted(found.files)),
        writable=found.writable,
        assets={f"{rules.base_path}/_next/static": assets} if rules.serves_assets and found.below(assets) else {},
        public={rules.base_path or "/": public} if rules.serves_public and found.below(public) else {},
        warnings=tuple(found.warnings()),
    )


class _Found:
    """The files found so far, by their path in the artifact; what may not travel is kept apart."""

    def __init__(self, *, writable: dict[str, str]) -> None:
        self.files: dict[str, TracedFile] = {}
        self.writable = writable
        self._left_out: list[str] = []
        self._completed: list[str] = []
        self._written = tuple(f"{path}/" for path in writable.values())

    def add(self, files: Iterable[TracedFile], *, late: bool = False) -> None:
        for file in files:
            if f"{file.path}/".startswith(self._written):
                continue  # the host puts a writable place there
            if secrets.is_secret(file.path):
                self._left_out.append(file.path)
                continue
            self.files[file.path] = file
            if late:
                self._completed.append(file.path)

    def has(self, path: str) -> bool:
        """Whether a path is there, or leads through a link that is (a package of pnpm's)."""
        if path in self.files or path in self._left_out:
            return True
        return any(self._is_link(parent.as_posix()) for parent in Path(path).parents)

    def _is_link(self, path: str) -> bool:
        return path in self.files and self.files[path].symlink is not None

    def below(self, folder: str) -> bool:
        return any(path.startswith(f"{folder}/") for path in self.files)

    def warnings(self) -> list[str]:
        told = [f"left out, because it can hold secrets: {path}" for path in sorted(self._left_out)]
        told += [f"missing in the standalone tree, and added: {path}" for path in sorted(self._completed)]
        links = [file for file in self.files.values() if file.symlink is not None]
        told += [
            f"a link to nothing: {file.path} -> {file.symlink}" for file in links if not Path(file.source).exists()
        ]
        return told


def _place(dist: Path) -> str:
    """The app's folder below the root of tracing, as the build itself says: never guessed."""
    required = manifests.read(dist / "required-server-files.json")
    if not required:
        raise PackageError(
            "the build left no required-server-files.json",
            code="standalone-incomplete",
            fix="does the build command run `next build`? Try it again without the cache: deployd release --no-cache",
        )
    return str(required.get("relativeAppDir") or "")


def _join(place: str, path: str) -> str:
    return f"{place}/{path}" if place else path


def _timed(file: TracedFile, *, dist: str) -> TracedFile:
    if file.symlink is not None or not file.path.startswith(tuple(dist + name for name in _PRERENDERED)):
        return file
    # Next.js 16 compares a prerendered file's mtime with its expiry, so it keeps the build's time
    return TracedFile(path=file.path, source=file.source, size=file.size, time="build", reasons=file.reasons)
