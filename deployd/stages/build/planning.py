"""SourceTree + options -> BuildPlan: everything that decides the build's result, known before it, and its build id."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.ids import BuildId
from deployd.domain.stages import BuildPlan, SourceTree
from deployd.errors import BuildError
from deployd.stages.build import framework, packages, runtime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.domain.options import Build

# Raised when deployd itself builds, traces or packages differently, so that no old artifact is taken for a new one.
RECIPE = 1


def plan(source: SourceTree, options: Build, *, app: str, environment: str, variables: Mapping[str, str]) -> BuildPlan:
    """Plan a build; `variables` are the build-time ones, in clear. Raises BuildError."""
    app_dir, root = Path(source.app_dir), Path(source.root)
    found = framework.detect(app_dir)
    if found.framework != "nextjs":
        raise _unsupported(app_dir, root=root)
    manager = packages.find(app_dir, root=root, package=_naming(found.package, app_dir=app_dir, root=root))
    node = runtime.resolve(options.node or _wished_node(app_dir, root=root, package=found.package))
    install = ("sh", "-c", options.install) if options.install else manager.install
    command = ("sh", "-c", options.command) if options.command else _command(found, manager)
    inputs = {
        "recipe": RECIPE,
        "tree": source.tree_hash,
        "subdir": app_dir.relative_to(root).as_posix(),
        "app": app,
        "environment": environment,
        "framework": found.framework,
        "manager": [manager.name, manager.version],
        "install": install,
        "command": command,
        "node": node,
        "variables": {name: hashlib.sha256(value.encode()).hexdigest() for name, value in sorted(variables.items())},
    }
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return BuildPlan(
        framework=found.framework,
        framework_version=found.version,
        manager=manager.name,
        manager_version=manager.version,
        install=install,
        command=command,
        node=node,
        lockfile=str(manager.lockfile),
        lockfile_sha256=manager.lockfile_sha256,
        build_id=BuildId.parse("b" + digest[:20]),
        environment=environment,
    )


def _naming(package: dict[str, object], *, app_dir: Path, root: Path) -> dict[str, object]:
    """The package.json that names the package manager: the app's, or one above it up to the root."""
    folder = app_dir
    while "packageManager" not in package and folder not in (root, folder.parent):
        folder = folder.parent
        if (folder / "package.json").is_file():
            package = framework.read_package(folder)
    return package


def _command(found: framework.Detected, manager: packages.Manager) -> tuple[str, ...]:
    scripts = found.package.get("scripts")
    if isinstance(scripts, dict) and scripts.get("build"):
        return packages.run_script(manager.name, "build")
    if found.framework == "nextjs":
        return packages.run_binary(manager.name, "next", "build")
    raise BuildError(
        "package.json has no `build` script",
        code="build-command-missing",
        fix="add one, or set build.command in deployd.toml",
    )


def _unsupported(app_dir: Path, *, root: Path) -> BuildError:
    here = app_dir.relative_to(root)
    inner = [
        path.parent.relative_to(root).as_posix()
        for path in sorted([*app_dir.glob("*/package.json"), *app_dir.glob("*/*/package.json")])
        if "node_modules" not in path.parts and framework.detect(path.parent).framework == "nextjs"
    ]
    return BuildError(
        f"no Next.js app is in {here if here != Path() else 'the top folder'}: package.json does not name `next`",
        code="framework-unsupported",
        fix=f"name the app's folder: {', '.join(inner)}" if inner else "deployd releases Next.js apps, from 13.5 on",
    )


def _wished_node(app_dir: Path, *, root: Path, package: dict[str, object]) -> str | None:
    for folder in dict.fromkeys((app_dir, root)):
        for name in (".nvmrc", ".node-version"):
            path = folder / name
            words = path.read_text(errors="replace").splitlines() if path.is_file() else []
            wish = next((word.split("#")[0].strip() for word in words if word.split("#")[0].strip()), None)
            if wish:
                return wish
    engines = package.get("engines")
    return str(engines["node"]) if isinstance(engines, dict) and engines.get("node") else None
