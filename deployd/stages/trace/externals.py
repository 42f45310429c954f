"""The packages that next.config keeps out of the bundle -> the files of those that no trace has, or has in part.

They are loaded from node_modules when the server runs, and some by a name that no tracer sees: a transport of pino's, a
native addon among prebuilt ones.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.stages.trace import manifests, tree

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployd.stages.trace.found import Found
    from deployd.stages.trace.nextapp import NextApp

_MOST = 300  # packages
_NATIVE = ("prebuilds", "build/Release")


def add(found: Found, app: NextApp, *, skip: Iterable[str]) -> None:
    """Take a named package that is lacking, with what it depends on; of one that is there, its native code.

    One that an exclude of next.config names, or whose files are among `skip`, lacks because somebody wants it so.
    """
    old = app.config.get("experimental") or {}
    excludes = "outputFileTracingExcludes"
    unwanted = json.dumps([app.config.get(excludes), old.get(excludes), *skip])
    named = [*(app.config.get("serverExternalPackages") or ()), *(old.get("serverComponentsExternalPackages") or ())]
    names = [name for name in named if f"node_modules/{name}" not in unwanted]
    waiting = [(str(name), app.app_dir) for name in names]
    seen: set[Path] = set()
    while waiting and len(seen) < _MOST:
        name, start = waiting.pop(0)
        link = _installed(name, start, root=app.root)
        real = Path(os.path.realpath(link)) if link else None
        if link is None or real is None or real in seen or not real.is_relative_to(os.path.realpath(app.root)):
            continue
        seen.add(real)
        at = os.path.relpath(real, os.path.realpath(app.root))
        has = found.below(at)
        folders = [f"{at}/{folder}" for folder in _NATIVE if (real / folder).is_dir()] if has else [at]
        for folder in folders:
            _take(found, app, folder, package=name)
        found.add(tree.Root(app.root).take(os.path.relpath(link, app.root), reasons=(f"named in next.config: {name}",)))
        if not has:
            facts = manifests.read(real / "package.json")
            needs = {**(facts.get("dependencies") or {}), **(facts.get("optionalDependencies") or {})}
            waiting += [(need, real) for need in needs]


def _take(found: Found, app: NextApp, folder: str, *, package: str) -> None:
    files = tree.walk(
        app.root / folder, at=folder, reason=f"named in next.config: {package}", root=app.root,
        skip=lambda path: path.removeprefix(folder).split("/")[1:2] == ["node_modules"],
    )  # fmt: skip
    found.add(file for file in files if not found.has(file.path))


def _installed(name: str, start: Path, *, root: Path) -> Path | None:
    for folder in (start, *start.parents):
        if folder.name != "node_modules" and (folder / "node_modules" / name / "package.json").is_file():
            return folder / "node_modules" / name
        if folder == root:
            return None
    return None
