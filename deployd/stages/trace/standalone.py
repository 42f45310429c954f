"""BuildOutput -> FileSet, from the standalone tree that Next.js made: checked, completed, and without secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd.domain.stages import BuildOutput, FileSet, TracedFile
from deployd.errors import PackageError
from deployd.stages.trace import routes, secrets, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

_PRERENDERED = ("server/app/", "server/pages/")


def trace(output: BuildOutput) -> FileSet:
    """Find the files of a standalone build; raises PackageError when it is incomplete or a link points out of it."""
    app_dir = Path(output.app_dir)
    dist = app_dir / ".next"
    required = json.loads((dist / "required-server-files.json").read_text())
    place = required.get("relativeAppDir") or ""
    standalone = dist / "standalone"
    if not (standalone / place / "server.js").is_file():
        raise PackageError(
            f"the standalone tree has no {_join(place, 'server.js')}",
            code="standalone-incomplete",
            fix="build again without the cache: deployd release --no-cache",
        )
    found: dict[str, TracedFile] = {}
    left_out: list[str] = []
    for file in tree.walk(standalone, at="", reason="standalone"):
        if secrets.is_secret(file.path):
            left_out.append(file.path)
        else:
            found[file.path] = _timed(file, place=place)
    for folder, at in ((app_dir / "public", "public"), (dist / "static", ".next/static")):
        if folder.is_dir():
            for file in tree.walk(folder, at=_join(place, at), reason=at):
                if secrets.is_secret(file.path):
                    left_out.append(file.path)
                else:
                    found[file.path] = file
    warnings = [f"left out, because it can hold secrets: {path}" for path in sorted(left_out)]
    warnings += [
        f"traced by Next.js, but not in the standalone tree: {path}" for path in _missing(dist, found, place=place)
    ]
    rules = routes.read(dist)
    return FileSet(
        root=output.root,
        entry=_join(place, "server.js"),
        files=tuple(found[path] for path in sorted(found)),
        writable={
            "cache": _join(place, ".next/cache"),
            "route-cache": _join(place, ".next/server/route-cache"),
        },
        assets={f"{rules.base_path}/_next/static": _join(place, ".next/static")} if rules.serves_assets else {},
        public={rules.base_path or "/": _join(place, "public")}
        if rules.serves_public and (app_dir / "public").is_dir() and any((app_dir / "public").iterdir())
        else {},
        warnings=tuple(warnings),
    )


def _join(place: str, path: str) -> str:
    return f"{place}/{path}" if place else path


def _timed(file: TracedFile, *, place: str) -> TracedFile:
    inside = file.path.removeprefix(_join(place, ".next/"))
    if inside == file.path or not inside.startswith(_PRERENDERED) or file.symlink is not None:
        return file
    # Next.js 16 compares a prerendered file's mtime with its expiry, so it keeps the build's time
    return TracedFile(path=file.path, source=file.source, size=file.size, time="build", reasons=file.reasons)


def _missing(dist: Path, found: dict[str, TracedFile], *, place: str) -> Iterator[str]:
    """Files that a route's trace names and the standalone tree lacks: Next.js only warns when a copy fails."""
    present = set(found)
    links = {path for path, file in found.items() if file.symlink is not None}
    root = _tracing_root(dist, place=place)
    seen: set[str] = set()
    for trace_file in sorted((dist / "server").rglob("*.nft.json")):
        data: dict[str, Any] = json.loads(trace_file.read_text())
        for name in data.get("files", []):
            path = _inside(trace_file.parent / name, root)
            if path is None or path in seen:
                continue
            seen.add(path)
            if path not in present and not secrets.is_secret(path) and not _below_link(path, links):
                source = root / path
                if source.is_file():
                    yield path


def _tracing_root(dist: Path, *, place: str) -> Path:
    root = dist.parent
    for _ in Path(place).parts:
        root = root.parent
    return root


def _inside(path: Path, root: Path) -> str | None:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    normal = Path(*parts)
    return normal.relative_to(root).as_posix() if normal.is_relative_to(root) else None


def _below_link(path: str, links: set[str]) -> bool:
    return any(parent.as_posix() in links for parent in Path(path).parents)
