"""Packages that are loaded from node_modules when the server runs -> what no trace has of them.

Some are named by a text alone (a transport of pino's); of some a trace has the code, and not the native one that it
chooses among prebuilt ones (bcrypt).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd.errors import PackageError
from deployd.stages.trace import manifests, nativecode, tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from deployd.stages.trace.found import Found
    from deployd.stages.trace.nextapp import NextApp

_MOST = 300  # packages


def add(found: Found, app: NextApp, *, skip: Iterable[str]) -> None:
    """Take packages that next.config keeps out of the bundle and no trace has, with what these need; and native code.

    What an exclude of next.config names, or has files among `skip`, lacks because somebody wants it so.
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
        if not has:
            _take(found, app, at, package=name)
        found.add(tree.Root(app.root).take(os.path.relpath(link, app.root), reasons=(f"named in next.config: {name}",)))
        if not has:
            facts = manifests.read(real / "package.json")
            needs = {**(facts.get("dependencies") or {}), **(facts.get("optionalDependencies") or {})}
            waiting += [(need, real) for need in needs]
    _add_platforms(found, app, unwanted=unwanted)
    nativecode.add(found, root=app.root, unwanted=unwanted)


def _add_platforms(found: Found, app: NextApp, *, unwanted: str) -> None:
    """Take this platform's own packages (`@img/sharp-linux-x64`) of packages whose code is there: 13 and 14 miss them.

    Those of `next` itself are compilers.
    """
    waiting = [path.removesuffix("/package.json") for path in found.files if path.endswith("/package.json")]
    while waiting:
        at = waiting.pop()
        name = at.rpartition("node_modules/")[2]
        if "node_modules/" not in at or name == "next" or f"node_modules/{name}" in unwanted:
            continue
        real = Path(os.path.realpath(app.root / at))
        for need in _facts(real).get("optionalDependencies") or {}:
            link = _installed(need, real, root=Path(os.path.realpath(app.root)))
            if link is None or f"node_modules/{need}" in unwanted or not _fits(_facts(link)):
                continue
            place = os.path.relpath(os.path.realpath(link), os.path.realpath(app.root))
            if not place.startswith("../") and not found.below(place):
                _take(found, app, place, package=name, why="this platform's part of")
                waiting.append(place)
            way = os.path.relpath(link, os.path.realpath(app.root))
            if not found.has(way) and not found.below(way):
                found.add(tree.Root(app.root).take(way, reasons=(f"this platform's part of {name}",)))


def _fits(facts: Mapping[str, Any]) -> bool:
    """Whether a package is for some platforms only, and Linux with glibc on this CPU is one."""
    own = nativecode.own()
    wanted = {"os": "linux", "cpu": own.cpu, "libc": own.libc}
    said = {key: facts[key] for key in wanted if isinstance(facts.get(key), list)}
    return bool(said) and all(wanted[key] in names for key, names in said.items())


def _facts(package: Path) -> dict[str, Any]:
    """A package.json; packages have odd ones among their tests."""
    try:
        return manifests.read(package / "package.json")
    except PackageError:
        return {}


def _take(found: Found, app: NextApp, folder: str, *, package: str, why: str = "named in next.config:") -> None:
    files = tree.walk(
        app.root / folder, at=folder, reason=f"{why} {package}", root=app.root,
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
