"""Detected app + Manager + Workspace -> the argv of its build, with the workspace's packages that come first."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from deployd.stages.build import firsts, manifest, packages, workspaces

if TYPE_CHECKING:
    from deployd.domain.stages import PackageManager
    from deployd.stages.build.framework import Detected
    from deployd.stages.build.packages import Manager
    from deployd.stages.build.workspaces import Workspace

# VitePress and its like, Nuxt's and Hexo's generators, and two habits.
_OTHERS = ("build:prod", "build:production", "docs:build", "build:docs", "site:build", "build:site", "generate")


def build(found: Detected, manager: Manager | None, workspace: Workspace | None) -> tuple[str, ...]:
    """The app's `build` script, its framework's command, or what its start script runs first to build; or nothing."""
    name = manager.name if manager else "npm"
    script = build_script(found)
    if script:
        own = packages.run_script(name, script)
    elif found.build:
        own = packages.run_binary(name, *found.build)
    else:
        own = _of_start(by_start(found), name)
    first = _first(manager, workspace) if manager and workspace else []
    if not first:
        return own
    return "sh", "-c", " && ".join([*first, *([shlex.join(own)] if own else [])])


def by_start(found: Detected) -> tuple[str, ...]:
    """What makes a server where no script is named for it: its start script runs that first (`tsc && node x.js`)."""
    return firsts.builds(found.package) if found.framework == "node" and not build_script(found) else ()


def build_script(found: Detected) -> str | None:
    """The script of package.json that builds: `build`, or what generators write in its place."""
    scripts = manifest.scripts(found.package)
    others = (
        _OTHERS if found.framework != "node" else ("build:prod", "build:production", "heroku-postbuild", "gcp-build")
    )
    return next((name for name in ("build", *others) if name in scripts), None)


def _of_start(made: tuple[str, ...], name: PackageManager) -> tuple[str, ...]:
    """Calls of scripts as they stand, programs of packages by way of the manager."""
    called = ("npm ", "pnpm ", "yarn ", "bun ")
    words = [shlex.split(one) if one.startswith(called) else _run(name, one) for one in made]
    if len(words) <= 1:
        return tuple(words[0]) if words else ()
    return "sh", "-c", " && ".join(shlex.join(one) for one in words)


def _run(name: PackageManager, command: str) -> list[str]:
    return list(packages.run_binary(name, *shlex.split(command.removeprefix("npx "))))


def _first(manager: Manager, workspace: Workspace) -> list[str]:
    """What builds the packages that the app needs: Turborepo, or their own scripts in the order of their needs."""
    with_scripts = [one for one in workspace.needed if "build" in manifest.scripts(one.package)]
    if with_scripts and workspace.app.name and _has_turbo(workspace):
        words = packages.run_binary(manager.name, "turbo", "run", "build", f"--filter={workspace.app.name}^...")
        # where turbo is installed: Yarn finds no command of the top folder's from a workspace
        top = shlex.quote(os.path.relpath(os.curdir, workspace.app.folder))
        return [f"(cd {top} && {shlex.join(words)})"]
    script = shlex.join(packages.run_script(manager.name, "build"))
    return [
        f"(cd {shlex.quote(os.path.relpath(member.folder, workspace.app.folder))} && {script})"
        for member in workspaces.unbuilt(workspace)
    ]


def _has_turbo(workspace: Workspace) -> bool:
    top = workspace.root
    return (top / "turbo.json").is_file() and "turbo" in manifest.needs(manifest.read(top))
