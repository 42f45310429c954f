"""SourceTree + options -> BuildPlan: everything that decides the build's result, known before it, and its build id."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.ids import BuildId
from deployd.domain.options import Package, Trace
from deployd.domain.stages import BuildPlan, SourceTree
from deployd.errors import BuildError
from deployd.stages.build import (
    commands,
    framework,
    manifest,
    nextapp,
    packages,
    platforms,
    runtime,
    treehash,
    workspaces,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.domain.options import Build, Options
    from deployd.domain.secret import Secret

# Raised when deployd itself builds, traces or packages differently, so that no old artifact is taken for a new one.
RECIPE = 13


def plan_for(
    source: SourceTree,
    options: Options,
    *,
    app: str,
    environment: str,
    variables: Mapping[str, Secret],
    cpu: str = "",
) -> BuildPlan:
    """Plan an app's build; of all its options those that a build depends on. Raises BuildError."""
    return plan(
        source,
        options.build,
        app=app,
        environment=environment,
        variables={name: secret.reveal() for name, secret in variables.items()},
        trace_root=options.trace.root,
        cpu=cpu,
        before=options.waves.before,
        asset_prefix=options.assets.url,
        taken=_taken(options),
    )


def _taken(options: Options) -> tuple[object, ...]:
    """What decides on an artifact after its build: where nothing is said, nothing."""
    trace, nothing = options.trace, Trace()
    said = (trace.include, trace.exclude, trace.error_pages, options.package.source_maps)
    return said if said != (nothing.include, nothing.exclude, nothing.error_pages, Package().source_maps) else ()


def plan(
    source: SourceTree,
    options: Build,
    *,
    app: str,
    environment: str,
    variables: Mapping[str, str],
    trace_root: str | None = None,
    cpu: str = "",
    before: str | None = None,
    asset_prefix: str | None = None,
    taken: tuple[object, ...] = (),
) -> BuildPlan:
    """Plan a build; `variables` are the build-time ones, in clear, `trace_root` is trace.root, `cpu` is the hosts',
    `before` rollout.before and `asset_prefix` assets.url; `taken` is whatever else decides on the artifact.

    Raises BuildError.
    """
    try:
        return _plan(
            source,
            options,
            app=app,
            environment=environment,
            variables=variables,
            trace_root=trace_root,
            cpu=cpu,
            before=before or "",
            asset_prefix=asset_prefix or "",
            taken=taken,
        )
    except BuildError as error:  # the checkout's place on this machine says nothing to anybody
        inside = error.what.replace(f"{source.root}/", "").replace(source.root, "the repository's top folder")
        raise error.but(what=inside) from None


def _plan(
    source: SourceTree,
    options: Build,
    *,
    app: str,
    environment: str,
    variables: Mapping[str, str],
    trace_root: str | None,
    cpu: str,
    before: str,
    asset_prefix: str,
    taken: tuple[object, ...],
) -> BuildPlan:
    app_dir, root = Path(source.app_dir), Path(source.root)
    found = framework.detect(app_dir, said=options.framework)
    if found.framework == "nextjs" and found.version:
        nextapp.check_wish(found.version, said=options.framework == "nextjs")
    manager = manager_of(found, app_dir=app_dir, root=root)
    workspace = workspace_of(manager, found, app_dir=app_dir) if manager else None
    node = _node(options, app_dir=app_dir, root=root, package=found.package)
    install = packages.install(manager, workspace) if manager else ()
    other = cpu if manager and cpu != platforms.own_cpu() and not options.install else ""
    if manager and other:
        install = platforms.with_cpu(install, name=manager.name, version=manager.version, cpu=other)
    install = ("sh", "-c", options.install) if options.install else install
    command = ("sh", "-c", options.command) if options.command else commands.build(found, manager, workspace)
    inputs = {
        "recipe": RECIPE,
        "tree": treehash.of(source, workspace),
        "subdir": app_dir.relative_to(root).as_posix(),
        "app": app,
        "environment": environment,
        "framework": found.framework,
        "output": [options.output, options.entry, trace_root],
        "manager": [manager.name, manager.version] if manager else [],
        "install": install,
        "command": command,
        "node": node,
        "variables": {name: hashlib.sha256(value.encode()).hexdigest() for name, value in sorted(variables.items())},
    }
    inputs |= {"cpu": other} if other else {}
    inputs |= {"before": before} if before else {}
    inputs |= {"taken": taken} if taken else {}
    asset_prefix = asset_prefix if found.framework == "nextjs" else ""  # the others' are built in, or nowhere
    inputs |= {"asset_prefix": asset_prefix} if asset_prefix else {}
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return BuildPlan(
        framework=found.framework,
        framework_version=found.version,
        manager=manager.name if manager else "npm",
        manager_version=manager.version if manager else None,
        install=install,
        command=command,
        node=node,
        lockfile=str(manager.lockfile) if manager else "",
        lockfile_sha256=manager.lockfile_sha256 if manager else "",
        build_id=BuildId.parse("b" + digest[:20]),
        environment=environment,
        output=options.output,
        entry=options.entry,
        trace_root=str(_trace_root(app_dir, root=root, said=trace_root)),
        cpu=other,
        before=before,
        asset_prefix=asset_prefix,
    )


def manager_of(found: framework.Detected, *, app_dir: Path, root: Path) -> packages.Manager | None:
    """The package manager; None when nothing is to be installed: no package.json, or one that needs no package."""
    if not found.package:
        return None
    try:
        return packages.find(app_dir, root=root, package=_naming(found.package, app_dir=app_dir, root=root))
    except BuildError as error:
        if error.code == "lockfile-missing" and not manifest.needs(found.package):
            return None
        raise


def workspace_of(manager: packages.Manager, found: framework.Detected, *, app_dir: Path) -> workspaces.Workspace | None:
    """The workspace around the app, if its lock file is a workspace's."""
    workspace = workspaces.find(manager.folder, app_dir=app_dir)
    outside = workspace is None and manager.folder != app_dir and workspaces.has_members(manager.folder)
    if outside and manifest.needs(found.package):
        raise BuildError(
            f"{manager.lockfile.name} is a workspace's, and its list of workspaces does not name this app's folder",
            code="lockfile-missing",
            fix="name it in `workspaces` (or pnpm-workspace.yaml), or commit a lock file beside its package.json",
        )
    return workspace


def _trace_root(app_dir: Path, *, root: Path, said: str | None) -> Path:
    """Where traced files are taken from: as Next.js finds it, the topmost lock file's folder, but in the repository."""
    if said is not None:
        return root / said
    found = app_dir
    for folder in (app_dir, *app_dir.parents):
        if any((folder / name).is_file() for name in (*packages.LOCKS, "pnpm-workspace.yaml")):
            found = folder
        if folder == root:
            break
    return found


def _naming(package: dict[str, object], *, app_dir: Path, root: Path) -> dict[str, object]:
    """The package.json that names the package manager: the app's, or one above it up to the root."""
    folder = app_dir
    while "packageManager" not in package and folder not in (root, folder.parent):
        folder = folder.parent
        if (folder / "package.json").is_file():
            package = manifest.read(folder)
    return package


def _node(options: Build, *, app_dir: Path, root: Path, package: dict[str, object]) -> str:
    """The pinned version; an error says where the wish stands that nothing fits."""
    wish, place = wished_node(app_dir, root=root, package=package)
    if options.node:
        wish, place = options.node, "build.node in deployd.toml"
    try:
        return runtime.resolve(wish)
    except BuildError as error:
        raise error.but(what=f"{error.what} ({place})") from None


def wished_node(app_dir: Path, *, root: Path, package: dict[str, object]) -> tuple[str | None, str]:
    """What the app says about its Node.js version, and where."""
    for folder in dict.fromkeys((app_dir, root)):
        for name in (".nvmrc", ".node-version", ".tool-versions"):
            path = folder / name
            words = path.read_text(errors="replace").splitlines() if path.is_file() else []
            told = (word.split("#")[0].strip() for word in words)
            if name == ".tool-versions":
                told = (word.split()[1] for word in told if re.match(r"node(?:js)?\s+\S", word))
            wish = next((word for word in told if word), None)
            if wish:
                return wish, name
    above = manifest.read(root) if root != app_dir and (root / "package.json").is_file() else {}
    for one in (package, above):
        for key, inner in (("volta", "node"), ("engines", "node")):
            section = one.get(key)
            if isinstance(section, dict) and section.get(inner):
                return str(section[inner]), f"{key}.{inner} in package.json"
    return None, ""
