"""A finished Next.js build -> what it left: Next.js's own server, a server of the app's own, or exported files."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.artifact import StaticSite
from deployd.errors import BuildError
from deployd.stages.build import manifest, starting, startscript
from deployd.stages.build.left import Left, missing, read_json

if TYPE_CHECKING:
    from deployd.domain.stages import BuildPlan

_REQUIRED = "required-server-files.json"
_PATH = re.compile(r"(?:/[A-Za-z0-9_~@-][A-Za-z0-9._~@-]*)+")
_IMAGE = b"/_next/image?url="
_MOST_PAGES = 500
_NOT_IN = {"node_modules", ".git", "standalone", "cache", "static", "server"}


def find(plan: BuildPlan, *, app_dir: Path, root: Path, log: Path) -> Left:
    """Look at what `next build` wrote; raises BuildError when there is nothing that can be released."""
    dist = dist_of(app_dir, root=root, named=plan.output)
    if dist is None:
        raise missing(
            "the build ended well, but Next.js left no finished build (no BUILD_ID)",
            looked_at=(plan.output or ".next", f"{_REQUIRED} below the repository"),
            key="build.output",
            log=log,
        )
    facts = read_json(dist / _REQUIRED)
    config = facts.get("config") if isinstance(facts.get("config"), dict) else {}
    exported = read_json(dist / "export-detail.json")
    told = _elsewhere(plan, config or {})
    if (config or {}).get("output") == "export" or (exported.get("success") and not facts):
        return _exported(dist, app_dir=app_dir, config=config or {}, exported=exported, log=log, warnings=told)
    folder = os.path.relpath(dist, app_dir)
    entry = plan.entry or own_server(app_dir)
    if entry is None:
        entries, warnings = starting.of_next(manifest.read(app_dir), app_dir=app_dir)
        return Left(kind="next", folder=folder, entries=entries, warnings=(*told, *warnings))
    if not (app_dir / entry).is_file():
        raise missing(f"there is no {entry} that Node.js could run", looked_at=(entry,), key="build.entry", log=log)
    entries, warnings = starting.entries(manifest.read(app_dir), entry, app_dir=app_dir)
    return Left(kind="node", folder=folder, entries=entries, include=_read(app_dir), warnings=(*warnings, *told))


def _elsewhere(plan: BuildPlan, config: dict[str, object]) -> tuple[str, ...]:
    """What is to be said when pages do not ask for their files at `assets.url`; hosts have these files too."""
    found = str(config.get("assetPrefix") or "")
    if not plan.asset_prefix or not config or found == plan.asset_prefix:
        return ()
    asked = f"at {found}, as next.config says" if found else "of the hosts: the build did not take assets.url"
    return (f"the pages ask for their files {asked}, and not at {plan.asset_prefix}",)


def dist_of(app_dir: Path, *, root: Path, named: str | None = None) -> Path | None:
    """The distDir of a finished build: the named one, `.next`, or wherever a build of this very app lies."""
    for place in (named, ".next"):
        if place and (app_dir / place / "BUILD_ID").is_file():
            return app_dir / place
    for here, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _NOT_IN)
        if _REQUIRED in files and "BUILD_ID" in files:
            told = read_json(Path(here) / _REQUIRED)
            if Path(str(told.get("appDir") or "")) == app_dir or Path(here).is_relative_to(app_dir):
                return Path(here)
    return None


def own_server(app_dir: Path) -> str | None:
    """The file of a server of the app's own that loads Next.js, as the start script (or npm's default) runs it."""
    package = manifest.read(app_dir)
    started = startscript.entry(package, app_dir)
    if started is None and "start" not in manifest.scripts(package):
        started = next((name for name in ("server.js", "server.mjs", "server.cjs") if (app_dir / name).is_file()), None)
    if started is None or {"standalone", "node_modules"}.intersection(Path(started).parts):
        return None  # Next.js's own server, or its command: `node node_modules/next/dist/bin/next start`
    if re.search(r"\bnext\s+start\b", manifest.scripts(package).get("start", "")):
        return None
    return started if startscript.loads(app_dir / started, package="next") else None


def _read(app_dir: Path) -> tuple[str, ...]:
    return tuple(name for name in ("public", "locales", "views") if (app_dir / name).is_dir())


def _exported(
    dist: Path,
    *,
    app_dir: Path,
    config: dict[str, object],
    exported: dict[str, object],
    log: Path,
    warnings: tuple[str, ...],
) -> Left:
    out = Path(str(exported.get("outDirectory") or app_dir / "out"))
    if not out.is_dir():
        raise missing(
            "output: 'export' is set, but the exported files are not there",
            looked_at=(os.path.relpath(out, app_dir),),
            key="build.output",
            log=log,
        )
    folder = os.path.relpath(out, app_dir)
    if folder.startswith(".."):
        raise BuildError(
            f"the exported files lie outside of the app's folder: {folder}",
            code="build-output-outside",
            fix="set a distDir below the app's folder in next.config",
        )
    base = str(config.get("basePath") or "").strip("/")
    at = f"{base}/" if base else ""
    prefix = str(config.get("assetPrefix") or "").rstrip("/")
    prefixes = dict.fromkeys([f"/{at}_next/static", *([f"{prefix}/_next/static"] if _PATH.fullmatch(prefix) else [])])
    not_found = next((f"{at}{name}" for name in ("404.html", "404/index.html") if (out / name).is_file()), None)
    return Left(
        kind="static",
        folder=folder,
        static=StaticSite(folder=folder, trailing_slash=bool(config.get("trailingSlash")), not_found=not_found),
        base=base,
        assets=dict.fromkeys(prefixes, f"{folder}/_next/static") if (out / "_next" / "static").is_dir() else {},
        warnings=(*warnings, *_without_server(dist), *_without_images(out)),
    )


def _without_server(dist: Path) -> tuple[str, ...]:
    """What the app has and an export leaves out; Next.js says it in passing, and the build ends well."""
    routes = read_json(dist / "routes-manifest.json")
    rewrites = routes.get("rewrites") or []
    ruled = [*rewrites.values()] if isinstance(rewrites, dict) else [rewrites]
    functions = read_json(dist / "server" / "functions-config-manifest.json").get("functions") or {}
    has = {
        "proxy (middleware)": "/_middleware" in functions
        or read_json(dist / "server" / "middleware-manifest.json").get("middleware"),
        "headers": routes.get("headers"),
        "redirects": [rule for rule in routes.get("redirects") or [] if not rule.get("internal")],
        "rewrites": any(ruled),
    }
    lost = [name for name, there in has.items() if there]
    if not lost:
        return ()
    way = "take it out of next.config, and deployd runs the app as a server"
    return (f"output: 'export' leaves out what only a server does: {', '.join(lost)}; {way}",)


def _without_images(out: Path) -> tuple[str, ...]:
    """Whether a page asks for an image that Next.js's server would make; the build says nothing of it."""
    pages = itertools.islice((path for path in out.rglob("*.html") if path.is_file()), _MOST_PAGES)
    page = next((path for path in pages if _IMAGE in path.read_bytes()), None)
    if page is None:
        return ()
    way = "set images.unoptimized (or a loader) in next.config, or take output out of it"
    asks = f"{page.relative_to(out)} asks for one (/_next/image), which answers 404"
    return (f"output: 'export' has no server that makes images smaller, and {asks}; {way}",)
