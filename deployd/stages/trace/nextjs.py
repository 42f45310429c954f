"""BuildOutput of a Next.js app -> FileSet: from its standalone tree, or assembled where there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deployd.domain.stages import BuildOutput, FileSet, TracedFile
from deployd.stages.trace import (
    analysis,
    assembled,
    byname,
    externals,
    includes,
    nextapp,
    regenerated,
    routes,
    squoosh,
    standalone,
    tree,
)
from deployd.stages.trace.found import Found

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping
    from pathlib import Path

    from deployd.domain import options
    from deployd.stages.trace.assembled import Needs
    from deployd.stages.trace.nextapp import NextApp

_SERVER = "server.js"
_PRERENDERED = ("server/app/", "server/pages/")
# Files of the app's folder that a package reads when the server runs, by a name that no tracer sees.
_READ_BY_NAME = {"next-i18next": ("next-i18next.config.js", "next-i18next.config.mjs", "next-i18next.config.cjs")}


def trace(
    output: BuildOutput,
    *,
    options: options.Trace,
    source_maps: bool,
    tools: Path,
    cancel: threading.Event | None = None,
) -> FileSet:
    """Find the files; raises PackageError when the build is incomplete or a link points out of it."""
    app = nextapp.read(output, root=options.root)
    found = Found(writable=writable(app), source_maps=source_maps)
    needed = assembled.needs(app)
    applied = rules(app, needed, options=options, tools=tools, cancel=cancel)
    skip = {path: names for path, names in applied.excluded.items() if names.issuperset(needed.by[path])}
    if standalone.usable(app):
        standalone.add(found, app, needed, skip=skip)
    else:
        assembled.add(found, app, needed, skip=skip, tools=tools, cancel=cancel)
    add_included(found, app, applied.added)
    add_folders(found, app)
    externals.add(found, app, skip=skip)
    squoosh.add(found, app, tools=tools)
    found.told += [*assembled.outside(needed), *applied.warnings]
    _add_start(found, app, output, tools=tools, cancel=cancel)
    byname.add(found, app_dir=app.app_dir, root=app.root)
    return file_set(found, app, entry=app.at(output.entries[0] if output.entries else _SERVER))


def _add_start(found: Found, app: NextApp, output: BuildOutput, *, tools: Path, cancel: threading.Event | None) -> None:
    """Take the file that starts server.js where the start script loads something first, and what it loads."""
    if not output.entries:
        return
    wish = analysis.Wish(
        entries=tuple(app.at(name) for name in output.entries),
        base=app.root,
        process_cwd=app.app_dir,
        conditions=analysis.conditions(output.plan.node),
        aside=("next",),
    )
    known = analysis.run(wish, tools=tools, cancel=cancel)
    own = app.at(_SERVER)  # the app's folder may hold another file of this name
    found.add((file for file in analysis.files(known, base=app.root) if file.path != own), maps=True)
    found.told += known.warnings


def writable(app: NextApp) -> dict[str, str]:
    """What the server writes at run time."""
    return {"cache": app.in_dist("cache"), "route-cache": app.in_dist("server/route-cache")}


def rules(
    app: NextApp, needed: Needs, *, options: options.Trace, tools: Path, cancel: threading.Event | None
) -> includes.Applied:
    """Apply the globs of next.config (Turbopack's builds have not) and of deployd.toml."""
    ours, theirs = includes.of_app(options), includes.of_next(app.config)
    both = includes.Rules(include=(*theirs.include, *ours.include), exclude=(*theirs.exclude, *ours.exclude))
    if not both:
        return includes.Applied(added={}, excluded={}, warnings=())
    return includes.apply(
        both,
        traces=needed.traces,
        files=list(needed.files),
        app_dir=app.app_dir,
        root=app.root,
        tools=tools,
        cancel=cancel,
    )


def add_included(found: Found, app: NextApp, added: Mapping[str, str]) -> None:
    """Take what include globs found, as far as it is not there."""
    root = tree.Root(app.root)
    for path, reason in added.items():
        if not found.has(path):
            found.add(root.take(path, reasons=(reason,)), maps=True)


def add_folders(found: Found, app: NextApp) -> None:
    """Take `public` and the hashed assets, which stand beside the server, and what is read by its name there."""
    for folder, place in ((app.app_dir / "public", app.at("public")), (app.dist / "static", app.in_dist("static"))):
        if folder.is_dir():
            found.add(tree.walk(folder, at=place, reason=folder.name))
    root = tree.Root(app.root)
    for path in sorted((app.dist / "server").glob("*.json")):  # 16 reads manifests of the App Router without one, too
        at = app.in_dist(f"server/{path.name}")
        if not path.name.endswith(".nft.json") and not found.has(at):
            found.add(root.take(at, reasons=("a manifest of the build",)))
    for package, names in _READ_BY_NAME.items():
        for name in names:
            if not found.has(app.at(name)):
                found.add(root.take(app.at(name), reasons=(f"read by {package}",)))


def file_set(found: Found, app: NextApp, *, entry: str) -> FileSet:
    """The result: what is served past the app, and what each release needs a writable copy of."""
    served = routes.read(app.dist, asset_prefix=str(app.config.get("assetPrefix") or ""))
    assets, public = app.in_dist("static"), app.at("public")
    dist = app.in_dist("")
    return FileSet(
        root=str(app.root),
        entry=entry,
        files=tuple(_timed(found.files[path], dist=dist) for path in sorted(found.files)),
        writable=found.writable,
        assets={f"{prefix}/_next/static": assets for prefix in served.prefixes} if found.below(assets) else {},
        ask_first=not served.serves_assets,
        public={served.base_path or "/": public} if served.serves_public and found.below(public) else {},
        warnings=found.warnings(),
        seeded=_seeded(found, app),
    )


def _seeded(found: Found, app: NextApp) -> dict[str, str]:
    if not regenerated.in_place(app.dist, major=app.major):
        return {}
    places = {"server-app": app.in_dist("server/app"), "server-pages": app.in_dist("server/pages")}
    return {name: place for name, place in places.items() if found.below(place)}


def _timed(file: TracedFile, *, dist: str) -> TracedFile:
    if file.symlink is not None or not file.path.startswith(tuple(dist + name for name in _PRERENDERED)):
        return file
    # Next.js 16 compares a prerendered file's mtime with its expiry, so it keeps the build's time
    return replace(file, time="build")
