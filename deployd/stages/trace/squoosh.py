"""A set of Next.js 13's or 14's files without sharp -> the same with the image code that these bring themselves.

`next start` makes images smaller without sharp there. Their standalone server refuses to (it logs an error and answers
with the original), and their traces leave that code out; so what worked before would stop working only because deployd
asked for a standalone server.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from deployd.stages.trace import programs, serverjs, tree

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.stages.trace.found import Found
    from deployd.stages.trace.nextapp import NextApp

_LAST = 14
_FOLDERS = ("dist/server/lib/squoosh", "dist/compiled/jest-worker")
_STAY = (".map", ".d.ts")
_SHARP = "node_modules/sharp/package.json"


def add(found: Found, app: NextApp, *, tools: Path) -> None:
    """Take that code, and let the server use it; nothing where it is not needed."""
    package = programs.of_app("next", app_dir=app.app_dir, root=app.root)
    images = app.config.get("images") or {}
    if not 0 < app.major <= _LAST or package is None or images.get("unoptimized"):
        return
    if any(path.endswith(_SHARP) for path in found.files) or not (package / _FOLDERS[0]).is_dir():
        return
    root, real = tree.Root(app.root), os.path.relpath(os.path.realpath(package), app.root)
    for folder in _FOLDERS:
        for file in sorted((app.root / real / folder).rglob("*")):
            path = os.path.relpath(file, app.root)
            if file.is_file() and not path.endswith(_STAY) and not found.has(path):
                found.add(root.take(path, reasons=("images, without sharp",)))
    server = app.at("server.js")
    if server in found.files:
        found.files[server] = serverjs.not_standalone(found.files[server], tools=tools)
