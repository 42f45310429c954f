"""Keeping what was installed from a lock file for the next build of the same one, and getting package managers."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import process, sandbox
from deployd.errors import BuildError, CommandError
from deployd.stages.build import cache
from deployd.stages.build.environment import registry_environment
from deployd.stages.build.left import read_json

if TYPE_CHECKING:
    import threading

    from deployd.domain.stages import BuildPlan

_INPUTS = ("package.json", ".npmrc", ".yarnrc", ".yarnrc.yml", "pnpm-workspace.yaml", ".pnpmfile.cjs", "bunfig.toml")
_AT_INSTALL = ("preinstall", "install", "postinstall", "prepare")
_KEPT_INSTALLS = 3


def tools(plan: BuildPlan, *, caches: Path, cancel: threading.Event | None = None) -> Path | None:
    """The folder of the package manager's command at the planned version, got through npm once.

    None means the npm of this machine, which is what an app gets that names no other.
    """
    if plan.manager_version is None:
        return None
    package = "@yarnpkg/cli-dist" if plan.manager == "yarn" and plan.manager_version[0] != "1" else str(plan.manager)
    folder = caches / "tools" / f"{plan.manager}-{plan.manager_version}"
    binaries = folder / "node_modules" / ".bin"
    if (binaries / plan.manager).exists():
        return binaries
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as aside:
        wanted = f"{package}@{plan.manager_version}"
        try:
            process.run(
                ["npm", "install", "--no-audit", "--no-fund", "--prefix", aside, wanted],
                cwd=aside, env=registry_environment(), timeout=600, cancel=cancel,
            )  # fmt: skip
        except CommandError as error:
            raise BuildError(
                f"{plan.manager} {plan.manager_version} could not be had through npm",
                code="package-manager-missing",
                details=error.details,
                fix=f"see `npm view {wanted}`, and correct packageManager in package.json",
            ) from error
        shutil.rmtree(folder, ignore_errors=True)
        Path(aside).rename(folder)
        Path(aside).mkdir()  # what TemporaryDirectory removes
    return binaries


def key(plan: BuildPlan, *, folder: Path) -> str:
    """What decides the result of an install: lock file, manifests, manager, Node.js, and how it is called."""
    digest = hashlib.sha256(
        json.dumps(
            [plan.lockfile_sha256, plan.manager, plan.manager_version, plan.node, plan.install]
            + ([plan.cpu] if plan.cpu else [])
        ).encode()
    )
    for path in sorted(_manifests(folder)):
        digest.update(f"{path.relative_to(folder)}\0".encode(errors="surrogateescape") + path.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


def _manifests(folder: Path) -> list[Path]:
    found: list[Path] = []
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("node_modules", ".git", ".next")]
        found += [Path(here) / name for name in files if name in _INPUTS or name.endswith((".patch", ".prisma"))]
        if "package.json" in files:
            found += _named_in_scripts(Path(here))
    return [path for path in dict.fromkeys(found) if path.is_file()]  # a pipe would be read for ever


def _named_in_scripts(folder: Path) -> list[Path]:
    """The app's own files that an install runs: `node scripts/postinstall.js`."""
    scripts = read_json(folder / "package.json").get("scripts")
    if not isinstance(scripts, dict):
        return []
    words = " ".join(str(scripts.get(name) or "") for name in _AT_INSTALL).split()
    return [folder / word for word in words if re.fullmatch(r"[\w./-]+", word) and (folder / word).is_file()]


def restore(kept: Path, *, folder: Path) -> bool:
    """Move a kept install into the checkout; False when there is none (or another build is using it).

    Moved, not hard-linked: a build that writes into node_modules (Prisma does) would write into every later one's.
    So a failed build loses its install with its checkout, and the next one starts from the lock file.
    """
    taken = folder / ".deployd-install"
    try:
        kept.rename(taken)
    except OSError:
        return False
    try:
        for number, place in enumerate(cache.read(taken)["places"]):
            target = folder / place
            if not target.parent.resolve().is_relative_to(folder.resolve()):
                return False  # a link was committed where a folder was
            target.parent.mkdir(parents=True, exist_ok=True)
            _remove(target)  # committed by mistake: an install replaces it too
            (taken / str(number)).rename(target)
            _own(target)
    except (OSError, KeyError, TypeError):
        return False  # damaged: install anew, over what was moved
    finally:
        shutil.rmtree(taken, ignore_errors=True)
    return True


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def _own(folder: Path) -> None:
    """What was kept by a deployd that built as another user changes hands."""
    who = sandbox.account()
    if who and folder.stat().st_uid != who.uid:
        sandbox.give(folder)


def keep(kept: Path, *, folder: Path) -> None:
    """Move what is installed in the checkout out of it, for the next build. The checkout is of no use afterwards."""
    places = list(_installed(folder))
    if not places:
        return  # Yarn's Plug'n'Play installs no folders
    kept.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=kept.parent, prefix=".new-"))
    try:
        for number, place in enumerate(places):
            (folder / place).rename(fresh / str(number))
        cache.write(fresh, {"places": places, "bytes": cache.size_of(fresh)})
        with cache.held(kept.parent.parent, "installs", alone=True):
            cache.put(fresh, kept)  # over that of a build without cache, or of one that ran at the same time
            _forget_old(kept.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def unchanged_since(moment: float, *, folder: Path) -> bool:
    """Whether nothing below the installed folders was written after `moment` (seconds since the epoch)."""
    for place in _installed(folder):
        waiting = [str(folder / place)]
        while waiting:
            with os.scandir(waiting.pop()) as found:
                for item in found:
                    info = item.stat(follow_symlinks=False)
                    # what was given to the builds' user, and taken back, has another ctime for that alone
                    if (info.st_mtime if sandbox.is_elsewhere() else info.st_ctime) > moment:
                        return False
                    if item.is_dir(follow_symlinks=False):
                        waiting.append(item.path)
    return True


def _installed(folder: Path) -> list[str]:
    found: list[str] = []
    for here, folders, _ in os.walk(folder):
        if "node_modules" in folders and not (Path(here) / "node_modules").is_symlink():
            found.append((Path(here) / "node_modules").relative_to(folder).as_posix())
        folders[:] = [name for name in folders if name not in ("node_modules", ".git", ".next")]
    return found


def _forget_old(folder: Path) -> None:
    installs = [path for path in folder.iterdir() if not path.name.startswith(".")]
    for path in sorted(installs, key=lambda path: path.stat().st_mtime)[:-_KEPT_INSTALLS]:
        shutil.rmtree(path, ignore_errors=True)
