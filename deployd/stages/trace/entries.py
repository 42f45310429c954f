"""Entries of any Node.js program, without a build -> FileSet: exactly what @vercel/nft lists."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.stages import FileSet
from deployd.stages.trace import analysis
from deployd.stages.trace.found import Found

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence


def trace_entries(
    entries: Sequence[Path],
    *,
    base: Path,
    process_cwd: Path | None = None,
    ignore: Sequence[str] = (),
    conditions: Sequence[str] = (),
    tools: Path,
    cancel: threading.Event | None = None,
) -> FileSet:
    """Trace files of Node.js; options are nft's own. Nothing is written there. Raises PackageError.

    Only what can hold secrets is left out of nft's list, and told.
    """
    given, base = base, Path(os.path.realpath(base))
    wish = analysis.Wish(
        entries=tuple(_place(entry, given=given, base=base) for entry in entries),
        base=base,
        process_cwd=process_cwd,
        ignore=tuple(ignore) or None,
        conditions=tuple(conditions) or None,
    )
    known = analysis.run(wish, tools=tools, cancel=cancel)
    found = Found()
    found.add(analysis.files(known, base=base), maps=True)
    found.told += known.warnings
    return FileSet(
        root=str(base),
        entry=wish.entries[0],
        files=tuple(found.files[path] for path in sorted(found.files)),
        warnings=found.warnings(),
    )


def _place(entry: Path, *, given: Path, base: Path) -> str:
    """An entry's path below the root, with the links on its way: nft lists them too. `base` is `given` resolved."""
    place = os.path.relpath(entry, given)
    return os.path.relpath(os.path.realpath(entry), base) if place.startswith("../") else place
