"""A package's `catalog:` wish -> the version that the workspace's catalog gives it (pnpm, Yarn, bun)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from deployd.stages.build import manifest, packages

if TYPE_CHECKING:
    from pathlib import Path

_FILES = ("pnpm-workspace.yaml", ".yarnrc.yml")
_LINE = re.compile(r"""( *)["']?([@\w][\w./@-]*)["']?\s*:\s*["']?([^"'#]*?)["']?\s*(?:#.*)?""")


def version(name: str, wish: str | None, *, app_dir: Path) -> str | None:
    """The wish itself, or what the catalog that it names says; looked for up to the lock file's folder."""
    if wish is None or not wish.startswith("catalog:"):
        return wish
    catalog = wish.removeprefix("catalog:").strip() or "default"
    for folder in (app_dir, *app_dir.parents):
        found = _of_files(folder, catalog, name) or _of_package(folder, catalog, name)
        if found:
            return found
        if any((folder / lock).is_file() for lock in packages.LOCKS):
            break
    return wish


def _of_files(folder: Path, catalog: str, name: str) -> str | None:
    """Of `catalog:` and `catalogs:` in a YAML file, as people write it: a name and a version on each line."""
    for file in _FILES:
        text = (folder / file).read_text(errors="replace") if (folder / file).is_file() else ""
        way: list[tuple[int, str]] = []
        for line in text.splitlines():
            match = _LINE.fullmatch(line)
            if not match:
                continue
            way = [(deep, key) for deep, key in way if deep < len(match[1])] + [(len(match[1]), match[2])]
            keys = tuple(key for _, key in way)
            at_top = catalog == "default" and keys == ("catalog", name)
            if match[3] and (at_top or keys == ("catalogs", catalog, name)):
                return match[3]
    return None


def _of_package(folder: Path, catalog: str, name: str) -> str | None:
    """Of bun's catalogs, at the top of package.json or in its `workspaces`."""
    package = manifest.read(folder) if (folder / "package.json").is_file() else {}
    for place in (package, package.get("workspaces")):
        if not isinstance(place, dict):
            continue
        for one in (place.get("catalog") if catalog == "default" else None, _inner(place, catalog)):
            if isinstance(one, dict) and isinstance(one.get(name), str):
                return str(one[name])
    return None


def _inner(place: dict[str, Any], catalog: str) -> Any:
    named = place.get("catalogs")
    return named.get(catalog) if isinstance(named, dict) else None
