"""Keeping what was installed from a lock file for the next build of the same one, and getting package managers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import process
from deployd.errors import BuildError, CommandError
from deployd.stages.build.environment import registry_environment

if TYPE_CHECKING:
    import threading

    from deployd.domain.stages import BuildPlan

_INPUTS = ("package.json", ".npmrc", ".yarnrc", ".yarnrc.yml", "pnpm-workspace.yaml", ".pnpmfile.cjs", "bunfig.toml")
_KEPT_INSTALLS = 3


def tools(plan: BuildPlan, *, caches: Path, cancel: threading.Event | None = None) -> Path | None:
    """The folder of the package manager's command at the planned version, got through npm; None for npm itself."""
    if plan.manager == "npm":
        return None
    version = plan.manager_version or "latest"
    package = plan.manager
    if plan.manager == "yarn" and not version.startswith("1."):
        package = "@yarnpkg/cli-dist"  # type: ignore[assignment]
    folder = caches / "tools" / f"{plan.manager}-{version}"
    binaries = folder / "node_modules" / ".bin"
    if not (binaries / plan.manager).exists():
        try:
            process.run(
                ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), f"{package}@{version}"],
                env=registry_environment(),
                timeout=600,
                cancel=cancel,
            )
        except CommandError as error:
            raise BuildError(
                f"{plan.manager} {version} could not be had through npm",
                code="package-manager-missing",
                details=error.details,
                fix=f"see `npm view {package}@{version}`, and correct packageManager in package.json",
            ) from error
    return binaries


def key(plan: BuildPlan, *, folder: Path) -> str:
    """What decides the result of an install: lock file, manifests, manager, Node.js, and how it is called."""
    digest = hashlib.sha256(
        json.dumps([plan.lockfile_sha256, plan.manager, plan.manager_version, plan.node, plan.install]).encode()
    )
    for path in sorted(_manifests(folder)):
        digest.update(f"{path.relative_to(folder)}\0".encode(errors="surrogateescape") + path.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


def _manifests(folder: Path) -> list[Path]:
    found: list[Path] = []
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("node_modules", ".git", ".next")]
        found += [Path(here) / name for name in files if name in _INPUTS or (name.endswith(".patch"))]
        if Path(here).name == "prisma":  # a postinstall that generates code reads it
            found += [Path(here) / name for name in files if name.endswith(".prisma")]
    return found


def restore(kept: Path, *, folder: Path) -> bool:
    """Move a kept install into the checkout; False when there is none (or another build is using it)."""
    taken = folder / ".deployd-install"
    try:
        kept.rename(taken)
    except OSError:
        return False
    for place in json.loads((taken / "places.json").read_text()):
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        (taken / place.replace("/", "\x1f")).rename(target)
    shutil.rmtree(taken)
    return True


def keep(kept: Path, *, folder: Path) -> None:
    """Move what is installed in the checkout out of it, for the next build. The checkout is of no use afterwards."""
    if kept.exists():
        return
    aside = kept.with_name(f".{kept.name}-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    places = list(_installed(folder))
    for place in places:
        (folder / place).rename(aside / place.replace("/", "\x1f"))
    (aside / "places.json").write_text(json.dumps(places))
    try:
        aside.rename(kept)
    except OSError:
        shutil.rmtree(aside)  # another build of the same lock file was faster
    _forget_old(kept.parent)


def _installed(folder: Path) -> list[str]:
    found: list[str] = []
    for here, folders, _ in os.walk(folder):
        if "node_modules" in folders:
            found.append((Path(here) / "node_modules").relative_to(folder).as_posix())
        folders[:] = [name for name in folders if name not in ("node_modules", ".git", ".next")]
    return found


def _forget_old(folder: Path) -> None:
    installs = sorted(
        (path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda path: path.stat().st_mtime
    )
    for path in installs[:-_KEPT_INSTALLS]:
        shutil.rmtree(path, ignore_errors=True)
