"""BuildOutput of a site without a server -> FileSet: all files of its folder, and which of them have hashed names."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.artifact import StaticSite
from deployd.domain.options import APP_FILE
from deployd.domain.stages import BuildOutput, FileSet
from deployd.errors import PackageError
from deployd.stages.trace import includes, nextapp, tree
from deployd.stages.trace.found import Found

if TYPE_CHECKING:
    import threading

    from deployd.domain import options

_SITE = "site"  # where the files go when the app's folder itself is the site
_STAY = {
    "node_modules", APP_FILE, "package.json", "package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml",
    "pnpm-workspace.yaml", "yarn.lock", "bun.lock", "bun.lockb",
}  # fmt: skip
_HASHED_FOLDERS = ("_next/static", "_astro", "_nuxt", "_app/immutable")
_HASHED_NAME = re.compile(r".+[-.][A-Za-z0-9_-]{8,}\.[a-z0-9]+(?:\.map)?")


def trace(
    output: BuildOutput,
    *,
    options: options.Trace,
    source_maps: bool,
    tools: Path,
    cancel: threading.Event | None = None,
) -> FileSet:
    """Take the folder as it is; raises PackageError when it is empty, or a link points out of it."""
    app_dir, folder = Path(output.app_dir), os.path.normpath(output.folder)
    base = output.base.strip("/")
    site = output.static or StaticSite(folder=folder)
    top = _SITE if folder == "." else folder
    at = nextapp.join(top, base) if base else top
    found = Found(source_maps=source_maps)
    skip = (lambda path: _stays(path.removeprefix(f"{at}/"))) if folder == "." else None
    if (app_dir / folder).is_dir():
        found.add(tree.walk(app_dir / folder, at=at, reason=folder, skip=skip))
    found.told += _apply(found, app_dir=app_dir, folder=folder, at=at, options=options, tools=tools, cancel=cancel)
    if not found.files:
        raise PackageError(
            f"there are no files in {folder}, the folder of the site",
            code="site-empty",
            fix="name the folder that the build writes with build.output in deployd.toml",
        )
    return FileSet(
        root=str(app_dir),
        entry="",
        files=tuple(found.files[path] for path in sorted(found.files)),
        assets=_assets(output, found, folder=folder, at=at, base=base),
        warnings=found.warnings(),
        static=replace(site, folder=top),
    )


def _stays(path: str) -> bool:
    top = path.split("/", maxsplit=1)[0]
    return top in _STAY or (top.startswith(".") and top != ".well-known")


def _assets(output: BuildOutput, found: Found, *, folder: str, at: str, base: str) -> dict[str, str]:
    if output.assets:
        placed = {}
        for prefix, path in output.assets.items():
            inner = os.path.relpath(path, folder)
            placed[prefix] = at if inner == "." else nextapp.join(at, inner)
    else:
        known = [name for name in _HASHED_FOLDERS if found.below(nextapp.join(at, name))]
        if _all_hashed(found, nextapp.join(at, "assets")):
            known.append("assets")
        placed = {f"/{nextapp.join(base, name)}": nextapp.join(at, name) for name in known}
    return {prefix: path for prefix, path in placed.items() if found.below(path)}


def _all_hashed(found: Found, folder: str) -> bool:
    """Whether every file of Vite's `assets` has a hash in its name: one that has none changes under its name."""
    names = [path.rpartition("/")[2] for path in found.files if path.startswith(f"{folder}/")]
    return bool(names) and all(_HASHED_NAME.fullmatch(name) for name in names)


def _apply(
    found: Found,
    *,
    app_dir: Path,
    folder: str,
    at: str,
    options: options.Trace,
    tools: Path,
    cancel: threading.Event | None,
) -> tuple[str, ...]:
    """Excludes of deployd.toml; a site has no server that could read an included file."""
    rules = includes.Rules(exclude=includes.of_app(options).exclude)
    if not rules:
        return ()
    placed = {os.path.normpath(f"{folder}/{path.removeprefix(f'{at}/')}"): path for path in found.files}
    applied = includes.apply(
        rules, traces=None, files=list(placed), app_dir=app_dir, root=app_dir, tools=tools, cancel=cancel
    )
    for path in applied.excluded:
        found.drop(placed[path])
    return applied.warnings
