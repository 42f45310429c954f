"""A server's file and the app's start script -> the entries that start it so, and the folders that it reads by name."""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from deployd.stages.build import ownsources, startscript, wrapper

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.stages.build.startscript import Start

# Folders that servers read at run time without an import that names them.
_READ = (
    "public", "views", "templates", "static", "locales", "migrations", "proto", "protos", "emails", "i18n", "lang",
    "config",
)  # fmt: skip
_SET = {"NODE_ENV", "PORT", "HOSTNAME", "PATH", "HOME"}  # by deployd, for every release
_OUTPUTS = {"dist", "build", "out", "lib", "output", ".output"}  # a package.json there only says "type"
NEXT_SERVER = "server.js"
"""Next.js's own server in an artifact, in the app's folder."""


def entries(package: dict[str, Any], entry: str, *, app_dir: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The files that Node.js is to run and trace, the first one starting it; and warnings."""
    start = startscript.find(package)
    if start is None or startscript.file_of(start, app_dir) != entry:
        return (entry,), ()
    given = {name: value for name, value in startscript.of_pm2(start, app_dir).items() if name not in _SET}
    variables = given | _variables(start)
    told = tuple(_told(start))
    if not (variables or start.words or start.preloads or start.folder):
        return (entry,), told
    # in a package of its own the wrapper finds that package's packages
    own = start.folder if start.folder and (app_dir / start.folder / "package.json").is_file() else ""
    made = wrapper.write(
        app_dir / own,
        os.path.relpath(entry, own or "."),
        words=start.words,
        variables=variables,
        preloads=start.preloads,
        folder="" if own else start.folder,
    )
    return (f"{own}/{made}" if own else made, entry), told


def of_next(package: dict[str, Any], *, app_dir: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The same for Next.js's own server, `server.js`: no entries where nothing stands before it; and warnings."""
    start = startscript.of_next(package)
    if start is None:
        return (), ()
    variables = _variables(start)
    told = tuple(_told(start))
    if not (variables or start.preloads):
        return (), told
    made = wrapper.write(app_dir, NEXT_SERVER, variables=variables, preloads=start.preloads)
    return (made,), told


def read_by_name(app_dir: Path, entry: str) -> tuple[str, ...]:
    """What travels beside what is imported: the usual folders, in `src` too for sources there, and what is named."""
    base = base_of(app_dir, entry)
    places = ["", *(["src/"] if entry.startswith("src/") else []), *([base, f"{base}src/"] if base else [])]
    usual = [f"{place}{name}" for place in places for name in _READ if (app_dir / place / name).is_dir()]
    types = _settings_of_types(app_dir) if entry.endswith(("ts", "tsx")) else []
    types += [f"{base}{name}" for name in _settings_of_types(app_dir / base)] if base and types else []
    usual += ["package.json"] if (app_dir / "package.json").is_file() else []  # its version, for one
    inner = [f"{base}{name}" for name in ("package.json", *ownsources.named(app_dir / base))] if base else []
    return tuple(dict.fromkeys([*usual, *inner, *types, *ownsources.named(app_dir)]))


def base_of(app_dir: Path, entry: str) -> str:
    """The folder of a package of its own that a server lies in, with a slash: `api/`; empty for the app's."""
    folders = [above for above in PurePosixPath(entry).parents if above.name and above.name not in _OUTPUTS]
    found = next((one for one in folders if (app_dir / one / "package.json").is_file()), None)
    return f"{found}/" if found else ""


def _settings_of_types(app_dir: Path) -> list[str]:
    """tsconfig.json and what it extends: tsx and ts-node read them when they run sources."""
    found = [path.name for path in sorted(app_dir.glob("tsconfig*.json"))]
    for name in list(found):
        text = (app_dir / name).read_text(errors="replace")
        for word in re.findall(r'"extends"\s*:\s*"([^".][^"]*)"', text):
            places = (f"node_modules/{word}", f"node_modules/{word}.json", f"node_modules/{word}/tsconfig.json")
            found += [place for place in places if (app_dir / place).is_file()]
    return found


def _variables(start: Start) -> dict[str, str]:
    """What the script sets. NODE_OPTIONS comes too late for the server itself, whose preloads the wrapper loads, and is
    for what it starts.
    """
    return {
        name: value
        for name, value in start.variables
        if name not in _SET and (name != "NODE_OPTIONS" or start.preloads)
    }


def _told(start: Start) -> list[str]:
    told = []
    if start.lost:
        told.append(
            f"the start script gives Node.js {' '.join(start.lost)}: deployd starts the server without it; "
            "`deployd env set NODE_OPTIONS` gives options to Node.js"
        )
    told += [
        f"the start script reads {name}, which does not travel: `deployd env import {name}` keeps its values"
        for name in start.env_files
    ]
    return told
