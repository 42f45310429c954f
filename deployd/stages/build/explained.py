"""app folder -> Explained: what was found there and what is assumed, in sentences for a person; nothing is built."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.errors import BuildError
from deployd.stages.build import (
    commands,
    firsts,
    framework,
    manifest,
    nextapp,
    nextoutput,
    nodeversions,
    planning,
    probing,
    servers,
    sites,
    startscript,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployd.stages.build.framework import Detected
    from deployd.stages.build.packages import Manager
    from deployd.stages.build.probing import Probed
    from deployd.stages.build.workspaces import Workspace

_SERVER = "the server that its build leaves"
_PAGES = "no process: the pages that its build leaves"
# A package that decides whether a framework leaves a server or pages.
_BY_ADAPTER: dict[str, tuple[tuple[str, str], ...]] = {
    "astro": (("@astrojs/node", _SERVER), ("astro", _PAGES)),
    "sveltekit": (
        ("@sveltejs/adapter-node", _SERVER),
        ("@sveltejs/adapter-auto", _SERVER),
        ("@sveltejs/adapter-static", _PAGES),
    ),
    "react-router": (("@react-router/serve", _SERVER), ("@remix-run/serve", _SERVER)),
}
_FOREIGN: dict[str, tuple[tuple[str, ...], str]] = {
    "astro": (("@astrojs/vercel", "@astrojs/netlify", "@astrojs/cloudflare"), "@astrojs/node"),
    "sveltekit": (
        (
            "@sveltejs/adapter-vercel",
            "@sveltejs/adapter-netlify",
            "@sveltejs/adapter-cloudflare",
        ),
        "@sveltejs/adapter-node (or adapter-static)",
    ),
}
_EXPORT = re.compile(r"""\boutput["']?\s*:\s*["'`]export["'`]""")
_ENV_FILES = (".env", ".env.production", ".env.local", ".env.production.local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """`name` is the app's kind for people. `found` are (what, text); `assumed` and `problems` are sentences.

    `before` is what the start script runs first to bring a database up to date, for rollout.before.
    """

    name: str | None
    found: tuple[tuple[str, str], ...] = ()
    assumed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    probe: Probed | None = None
    before: str | None = None


def explain(app_dir: Path, *, root: Path) -> Explained:
    """Look at an app as a build would; `root` is the repository's top. What stands in the way is told, not raised."""
    try:
        detected = framework.detect(app_dir)
    except BuildError as error:
        return Explained(name=None, problems=(f"{error.what}: {error.fix}",))
    problems: list[str] = []
    manager: Manager | None = None
    workspace: Workspace | None = None
    try:
        if detected.framework == "nextjs" and detected.version:
            nextapp.check_wish(detected.version)
        manager = planning.manager_of(detected, app_dir=app_dir, root=root)
        workspace = planning.workspace_of(manager, detected, app_dir=app_dir) if manager else None
    except BuildError as error:
        problems.append(f"{error.what}: {error.fix}")
    problems += _foreign(detected)
    probe = probing.find(app_dir, detected)
    return Explained(
        name=_name(detected),
        found=tuple(_found(detected, manager, workspace, app_dir=app_dir, root=root, probe=probe)),
        assumed=tuple(_assumed(detected, probe, app_dir=app_dir)),
        problems=tuple(problems),
        probe=probe,
        before=firsts.to_run(detected.package) if detected.framework != "static" else None,
    )


def _name(detected: Detected) -> str:
    name = " ".join(part for part in (detected.tool, detected.version) if part)
    how = {"static": "pages, served without a process", "node": "a Node.js server"}.get(detected.framework)
    return f"{name}: {how}" if how else name


def _found(
    detected: Detected,
    manager: Manager | None,
    workspace: Workspace | None,
    *,
    app_dir: Path,
    root: Path,
    probe: Probed,
) -> Iterator[tuple[str, str]]:
    yield "app", _name(detected)
    if manager:
        version = f" {manager.version}" if manager.version else ""
        yield "packages", f"{manager.name}{version}, from {manager.lockfile.relative_to(root)}"
    elif not manifest.needs(detected.package):
        yield "packages", "none are needed"
    if workspace:
        needed = ", ".join(member.folder for member in workspace.needed) or "no other package"
        rest = len(workspace.others)
        others = f"; {rest} other{'s stay' if rest > 1 else ' stays'} out" if rest else ""
        yield "workspace", f"{workspace.app.folder} needs {needed}{others}"
    script = commands.build_script(detected)
    command = commands.build(detected, manager, workspace)
    own = f"scripts.{script}" if script else " ".join(detected.build) or " && ".join(commands.by_start(detected))
    yield "build", own or ("the packages that it needs" if command else "nothing to build")
    yield "runs", _runs(detected, app_dir, built=bool(command))
    if detected.framework != "static" or command:
        wished, where = planning.wished_node(app_dir, root=root, package=detected.package)
        yield "Node.js", f"{wished}, as {where} says" if wished else f"{nodeversions.DEFAULT}, deployd's default"
    before = firsts.to_run(detected.package)
    if before and detected.framework != "static":
        yield "before", f"{before}, once for each release, as the start script says"
    yield "probe", f"{probe.path or '/'} ({'any answer below 500 counts' if probe.status else probe.why})"


def _runs(detected: Detected, app_dir: Path, *, built: bool) -> str:
    start = startscript.find(detected.package)
    named = startscript.file_of(start, app_dir) if start else None
    if detected.framework == "nextjs":
        return _runs_next(app_dir, named)
    if detected.framework == "static":
        served, _ = sites.served_folder(detected.package)
        places = sites.places_of(manifest.needs(detected.package), app_dir, built=built)
        there = next((place for place in places if (app_dir / place / "index.html").is_file()), None)
        if there and not built:
            return f"no process: the pages {'as they lie here' if there == '.' else f'in {there}'}"
        likely = dict.fromkeys([*([served] if served else []), *places[:4]])
        return f"no process: the first of {', '.join(likely)} with an index.html"
    if start and named:
        return f"{named}, as scripts.{start.script} says"
    command = servers.command(detected.package)
    by_command = f"{command}, as the start script says" if command else None
    needs = manifest.needs(detected.package)
    by_adapter = next((text for name, text in _BY_ADAPTER.get(detected.framework, ()) if name in needs), None)
    if by_command or by_adapter or detected.build:
        return by_command or by_adapter or f"{_SERVER}, or its pages where it leaves none"
    main = detected.package.get("main")
    return f"{main}, as main says" if isinstance(main, str) and main else "the first usual file, such as server.js"


def _runs_next(app_dir: Path, named: str | None) -> str:
    own = nextoutput.own_server(app_dir)
    if own:
        return f"the app's own server, {own}"
    if any(_EXPORT.search(path.read_text(errors="replace")) for path in app_dir.glob("next.config.*")):
        return f"{_PAGES} (output: 'export')"
    later = named and not (app_dir / named).is_file() and "standalone" not in named
    return f"{named}, which the build makes, if it loads Next.js" if later else "Next.js's own server"


def _foreign(detected: Detected) -> list[str]:
    """Adapters for other platforms leave nothing that a server could run."""
    names, instead = _FOREIGN.get(detected.framework, ((), ""))
    needs = manifest.needs(detected.package)
    if instead.split()[0:1] and instead.split()[0] in needs:
        return []
    return [f"{name} builds for other platforms: use {instead} in its place" for name in names if name in needs]


def _assumed(detected: Detected, probe: Probed, *, app_dir: Path) -> Iterator[str]:
    if detected.framework == "node":
        yield "the server listens on $PORT, or on any one port: deployd hands it a socket in its place"
    if "@sveltejs/adapter-auto" in manifest.needs(detected.package):
        yield "@sveltejs/adapter-auto fetches adapter-node in each build; name adapter-node itself to lock its version"
    if probe.status:
        yield f"{probe.why}; name a better page with probe.path"
    start = startscript.find(detected.package)
    if start and detected.framework == "node" and framework.maker(detected.package):
        yield f'scripts.{start.script} runs a server; build.framework = "static" serves the built pages alone'
    if "@angular/ssr" in manifest.needs(detected.package):
        yield (
            "Angular's server refuses hosts that `security.allowedHosts` in angular.json does not name: "
            "`deployd env set NG_ALLOWED_HOSTS` names them too"
        )
    runs = firsts.to_run(detected.package) or ""
    told = firsts.untold(detected.package, before=runs)
    if told and detected.framework != "static":
        yield f"`{' && '.join(told)}`, which the start script runs too, is not run on the servers"
    for name in _ENV_FILES:
        if (app_dir / name).is_file():
            yield f"{name} does not travel: `deployd env import {name}` keeps its values for the servers"
