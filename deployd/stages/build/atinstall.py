"""A checkout that was given kept packages -> the app's own scripts that an install would have run there, as commands.

What they write may lie anywhere in the checkout (`fumadocs-mdx`, `nuxt prepare`, a `postinstall` that builds), and only
`node_modules` is kept from one build to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.stages.build import manifest, packages, workspaces

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.domain.stages import BuildPlan

# `preinstall` looks whether the right manager is used, and may install one; Yarn 2 and later know no `prepare`.
_SCRIPTS = ("install", "postinstall", "prepare")


def commands(plan: BuildPlan, *, folder: Path, app_dir: Path) -> list[tuple[tuple[str, ...], Path]]:
    """Each command with the folder that it runs in; `folder` is where the lock file lies.

    The packages of a workspace that the app needs come first, and the top folder last, as package managers have it.
    """
    if "--ignore-scripts" in " ".join(plan.install) or _ignored(folder):
        return []
    workspace = workspaces.find(folder, app_dir=app_dir) if folder != app_dir else None
    inner = [folder / one.folder for one in (*workspace.needed, workspace.app)] if workspace else []
    names = _SCRIPTS[:-1] if plan.manager == "yarn" and not packages.is_classic(plan.manager_version) else _SCRIPTS
    return [
        (packages.run_script(plan.manager, name), place)
        for place in dict.fromkeys([*inner, folder])
        if (place / "package.json").is_file()
        for name in names
        if name in manifest.scripts(manifest.read(place))
    ]


def _ignored(folder: Path) -> bool:
    settings = folder / ".npmrc"
    text = settings.read_text(errors="replace") if settings.is_file() else ""
    return "ignore-scripts=true" in text.replace(" ", "")
