"""BuildOutput of a Node.js server -> FileSet: what @vercel/nft finds from its entries, and what is read by name."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.stages import BuildOutput, FileSet
from deployd.errors import PackageError
from deployd.stages.trace import (
    analysis,
    assembled,
    byname,
    externals,
    includes,
    nextapp,
    nextjs,
    serverjs,
    squoosh,
    tree,
)
from deployd.stages.trace.found import Found

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from deployd.domain import options

_STAY = {".git", "node_modules"}


def trace(
    output: BuildOutput,
    *,
    options: options.Trace,
    source_maps: bool,
    tools: Path,
    cancel: threading.Event | None = None,
) -> FileSet:
    """Find the files; raises PackageError when an entry is not there, or a link points out of the root."""
    app_dir = Path(output.app_dir)
    root = _root(output, options=options)
    place = "" if app_dir == root else os.path.relpath(app_dir, root)
    found = Found(source_maps=source_maps)
    wish = analysis.Wish(
        entries=tuple(nextapp.join(place, os.path.normpath(entry)) for entry in output.entries),
        base=root,
        process_cwd=app_dir,
        conditions=analysis.conditions(output.plan.node),
    )
    known = analysis.run(wish, tools=tools, cancel=cancel)
    found.add(analysis.files(known, base=root), maps=True)
    found.told += known.warnings
    for name in (output.folder, *output.include):
        _whole(found, app_dir=app_dir, name=name, place=place, root=root)
    byname.add(found, app_dir=app_dir, root=root)
    found.told += _apply(found, output, wish=wish, options=options, root=root, tools=tools, cancel=cancel)
    return FileSet(
        root=str(root),
        entry=wish.entries[0],
        files=tuple(found.files[path] for path in sorted(found.files)),
        assets=assets(output, found, place=place),
        warnings=found.warnings(),
    )


def trace_next(
    output: BuildOutput,
    *,
    options: options.Trace,
    source_maps: bool,
    tools: Path,
    cancel: threading.Event | None = None,
) -> FileSet:
    """The files of a Next.js app with a server of its own: Next.js's from its traces, the rest from the entries."""
    app = nextapp.read(output, root=options.root)
    found = Found(writable=nextjs.writable(app), source_maps=source_maps)
    needed = assembled.needs(app)
    applied = nextjs.rules(app, needed, options=options, tools=tools, cancel=cancel)
    skip = {path: names for path, names in applied.excluded.items() if names.issuperset(needed.by[path])}
    wish = analysis.Wish(
        entries=tuple(app.at(os.path.normpath(name)) for name in output.entries),
        base=app.root,
        process_cwd=app.app_dir,
        conditions=analysis.conditions(output.plan.node),
        aside=("next",),
    )
    known = analysis.run(wish, tools=tools, cancel=cancel)
    found.add(analysis.files(known, base=app.root), maps=True)
    assembled.add(found, app, needed, skip=skip, tools=tools, with_server=False, cancel=cancel)
    for name in output.include:
        _whole(found, app_dir=app.app_dir, name=name, place=app.place, root=app.root)
    nextjs.add_included(found, app, applied.added)
    nextjs.add_folders(found, app)
    externals.add(found, app, skip=skip)
    squoosh.add(found, app, tools=tools)
    byname.add(found, app_dir=app.app_dir, root=app.root)
    found.told += [*known.warnings, *assembled.outside(needed), *applied.warnings]
    start = serverjs.make_own(app, os.path.normpath(output.entries[0]), tools=tools)
    found.add([start])
    made = nextjs.file_set(found, app, entry=start.path)
    # the app's own server comes before Next.js for every path, so the web server serves no public file past it
    return replace(made, public={})


def assets(output: BuildOutput, found: Found, *, place: str) -> dict[str, str]:
    """The folders of hashed files that the build named, as far as files of theirs travel."""
    placed = {prefix: nextapp.join(place, os.path.normpath(folder)) for prefix, folder in output.assets.items()}
    return {prefix: folder for prefix, folder in placed.items() if found.below(folder)}


def _root(output: BuildOutput, *, options: options.Trace) -> Path:
    app_dir = Path(output.app_dir)
    if options.root is not None:
        return nextapp.inside(Path(output.root) / options.root, app_dir=app_dir)
    return nextapp.inside(Path(output.plan.trace_root or app_dir), app_dir=app_dir)


def _whole(found: Found, *, app_dir: Path, name: str, place: str, root: Path) -> None:
    """Take a file or a folder as it is: servers read pages and client files there that no import names."""
    path = os.path.normpath(name) if name else ""
    if not path:
        return
    if path.startswith(("..", "/")):
        raise PackageError(
            f"{name!r} lies outside of the app's folder", code="file-outside-root", fix="name a folder of the app"
        )
    at = nextapp.join(place, path) if path != "." else place
    if (app_dir / path).is_dir() and not (app_dir / path).is_symlink():
        own = path == "."  # the app itself: its packages are traced
        files = tree.walk(
            app_dir / path, at=at, reason=f"all of {path} travels", root=root,
            skip=lambda one: one.rpartition("/")[2] in (_STAY if own else {".git"}),
        )  # fmt: skip
        found.add(file for file in files if not found.has(file.path))
    else:
        found.add(tree.Root(root).take(at, reasons=("the app's sources name it",)))


def _apply(
    found: Found,
    output: BuildOutput,
    *,
    wish: analysis.Wish,
    options: options.Trace,
    root: Path,
    tools: Path,
    cancel: threading.Event | None,
) -> Sequence[str]:
    rules = includes.of_app(options)
    if not rules:
        return ()
    app_dir = Path(output.app_dir)
    applied = includes.apply(
        rules, traces=None, files=list(found.files), app_dir=app_dir, root=root, tools=tools, cancel=cancel
    )
    for path in applied.excluded.keys() - {*wish.entries}:
        found.drop(path)
    taken = tree.Root(root)
    for path, reason in applied.added.items():
        if not found.has(path):
            found.add(taken.take(path, reasons=(reason,)), maps=True)
    return applied.warnings
