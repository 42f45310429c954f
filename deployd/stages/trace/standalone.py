"""The standalone tree that Next.js made -> its files, completed from the traces of the same build."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deployd.stages.trace import assembled, tree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deployd.stages.trace.assembled import Needs
    from deployd.stages.trace.found import Found
    from deployd.stages.trace.nextapp import NextApp


def usable(app: NextApp) -> bool:
    """Whether there is a standalone tree with a server, laid out from the root that is wanted."""
    return app.place == app.built_place and (_tree(app) / app.place / "server.js").is_file()


def add(found: Found, app: NextApp, needed: Needs, *, skip: Mapping[str, object]) -> None:
    """Take the tree, and what a trace or required-server-files.json names and the tree lacks: Next.js only warns when
    it cannot copy a file, and exits with 0. What is in `skip` is excluded. Raises PackageError for links that lead out.
    """
    found.add(tree.walk(_tree(app), at="", reason="standalone"))
    told = assembled.Reasons(needed)
    root = tree.Root(app.root)
    kept = {*assembled.required(app), app.at("server.js")}
    whole = tuple(app.in_dist(f"{folder}/") for folder in ("server/app", "server/pages"))
    completed: list[str] = []
    for path in needed.files:
        if path in skip:
            if path not in kept and not path.startswith(whole):
                found.drop(path)
        elif path in found.files:
            found.files[path] = replace(found.files[path], reasons=told.of(path))
        elif not found.has(path):
            completed += found.add(root.take(path, reasons=told.of(path)))
    for path in kept:
        if not found.has(path):
            completed += found.add(root.take(path, reasons=("required by every server",)))
    found.told += [f"missing in the standalone tree, and added: {path}" for path in sorted(completed)]


def _tree(app: NextApp) -> Path:
    return app.dist / "standalone"
