"""Entries of a Node.js server -> what @vercel/nft finds from them: exactly its list, and why each file is in it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.errors import CommandError, PackageError
from deployd.stages.trace import programs, tree

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from deployd.domain.stages import TracedFile

_TYPES = re.compile(r"\.[cm]?tsx?$")
_TOLD = {"initial": "an entry", "dependency": "imported", "asset": "read", "sharedlib": "loaded", "resolve": "found"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is analysed. `entries` are relative to `base`, the root of tracing. `process_cwd`, `ignore` and `conditions`
    are nft's options of those names; None is its default. The modules in `aside` are not looked into, if the app has
    them, and not listed.
    """

    entries: tuple[str, ...]
    base: Path
    process_cwd: Path | None = None
    ignore: tuple[str, ...] | None = None
    conditions: tuple[str, ...] | None = None
    aside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """`paths` is nft's list. `types` and `parents` are its reasons: how a file was found, and in which files."""

    paths: tuple[str, ...]
    types: Mapping[str, tuple[str, ...]]
    parents: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...]


def run(wish: Wish, *, tools: Path, cancel: threading.Event | None = None) -> Analysis:
    """Analyse; raises PackageError when an entry is not there, or nft fails on the app."""
    for entry in wish.entries:
        if entry.startswith("../") or not (wish.base / entry).is_file():
            raise PackageError(
                f"there is no {entry} below {wish.base} that Node.js could run",
                code="entry-missing",
                fix="name the file that Node.js runs: build.entry in deployd.toml, or --entry",
            )
    app_dir = wish.process_cwd or wish.base
    module, warning = programs.nft(tools, app_dir=app_dir, root=wish.base, cancel=cancel)
    own = [programs.of_app(name, app_dir=app_dir, root=wish.base) for name in wish.aside]
    job = {
        "nft": str(module),
        "entries": [str(wish.base / entry) for entry in wish.entries],
        "base": str(wish.base),
        "processCwd": None if wish.process_cwd is None else str(wish.process_cwd),
        "ignore": wish.ignore,
        "conditions": wish.conditions,
        "types": str(programs.types(tools, cancel=cancel)) if any(map(_TYPES.search, wish.entries)) else None,
        "aside": [os.path.relpath(os.path.realpath(folder), wish.base) for folder in own if folder],
    }
    try:
        told = programs.run("nft", job, root=wish.base, reads=(tools / programs.folder_name(),), cancel=cancel)
    except CommandError as error:
        raise _failed(error) from error
    why = {path: (types, parents, ignored) for path, types, parents, ignored in told["reasons"]}
    return Analysis(
        paths=tuple(sorted(told["files"])),
        types={path: tuple(types) for path, (types, _, _) in why.items()},
        parents={path: tuple(sorted(parents)) for path, (_, parents, _) in why.items()},
        warnings=(*([warning] if warning else []), *_outside(why)),
    )


def conditions(node: str) -> tuple[str, ...]:
    """How this Node.js reads `exports`: since 20.19 and 22.10 it takes `module-sync` first, which nft does not know."""
    version = tuple(int(part) for part in node.split(".")[:2] if part.isdigit())
    knows = version >= (22, 10) or (20, 19) <= version < (21, 0)
    return ("node", "module-sync") if knows else ("node",)


def files(found: Analysis, *, base: Path) -> Iterator[TracedFile]:
    """Nft's list as files and links; raises PackageError for a link that leads out of the root."""
    root = tree.Root(base)
    for path in found.paths:
        parents = found.parents.get(path, ())
        reasons = _reasons(found.types.get(path, ()), parents)
        here = _real(path, base=base)
        if not here:
            continue
        for one in here:
            yield from root.take(one, reasons=reasons, parents=parents)


def _reasons(types: tuple[str, ...], parents: tuple[str, ...]) -> tuple[str, ...]:
    if not parents:
        return tuple(_TOLD.get(kind, kind) for kind in types)
    how = " or ".join(_TOLD.get(kind, kind) for kind in types if kind != "initial") or "named"
    start = ("an entry",) if "initial" in types else ()
    return (*start, *(f"{how} by {parent}" for parent in parents))


def _real(path: str, *, base: Path) -> list[str]:
    """A path as it is on the disk: Node.js gives the bytes of a name that is not UTF-8 as U+FFFD."""
    if "\ufffd" not in path or os.path.lexists(base / path):
        return [path]
    found = [""]
    for part in path.split("/"):
        found = [f"{above}/{name}".lstrip("/") for above in found for name in _names(base / above, part)]
    return found


def _names(folder: Path, shown: str) -> list[str]:
    if "\ufffd" not in shown:
        return [shown]
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return []
    return [name for name in names if os.fsencode(name).decode(errors="replace") == shown]


def _outside(why: Mapping[str, tuple[list[str], list[str], bool]]) -> list[str]:
    """Warnings for files that were found outside of the root: nft leaves them out without a word."""
    told = []
    for path, (types, parents, ignored) in sorted(why.items()):
        if ignored and path.startswith("../"):
            how = _TOLD.get(types[0], types[0]) if types else "named"
            by = f" by {', '.join(parents)}" if parents else ""
            told.append(f"outside of the root of tracing, and left out: {path} ({how}{by})")
    return told


def _failed(error: CommandError) -> PackageError:
    if "Recursive symlink" in (error.details or ""):
        return PackageError(
            "a link among the app's files leads to itself",
            code="symlink-loop",
            details=error.details,
            fix="remove the link that points to itself",
        )
    return PackageError(
        "@vercel/nft could not analyse the app", code="trace-failed", details=error.details, fix="see the lines above"
    )
