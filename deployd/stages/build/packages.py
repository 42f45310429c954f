"""app folder -> Manager: which package manager, at which version, installs from which lock file, and how."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployd.errors import BuildError

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.domain.stages import PackageManager

_LOCKS: dict[str, PackageManager] = {
    "package-lock.json": "npm",
    "npm-shrinkwrap.json": "npm",
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
    "bun.lock": "bun",
    "bun.lockb": "bun",
}
_MAKE_LOCK: dict[str, str] = {
    "npm": "npm install",
    "pnpm": "pnpm install",
    "yarn": "yarn install",
    "bun": "bun install",
}
_NAMED = re.compile(r"(npm|pnpm|yarn|bun)@(\d+\.\d+\.\d+[0-9A-Za-z.-]*)(?:\+.*)?")
# What is installed when packageManager names no version; npm is the one that comes with this machine.
DEFAULT_VERSIONS: dict[str, str | None] = {"npm": None, "pnpm": "10.34.0", "yarn": "1.22.22", "bun": "1.3.0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """The package manager of an app. `folder` is where the lock file lies: the app's, or its workspace's root."""

    name: PackageManager
    version: str | None
    lockfile: Path
    folder: Path
    install: tuple[str, ...]

    @property
    def lockfile_sha256(self) -> str:
        """The lock file's hash."""
        return hashlib.sha256(self.lockfile.read_bytes()).hexdigest()


def find(app_dir: Path, *, root: Path, package: dict[str, Any]) -> Manager:
    """Find the manager and its lock file, from the app's folder up to the repository's root; raises BuildError."""
    named = _named(package)
    folder = app_dir
    while True:
        locks = [folder / name for name in _LOCKS if (folder / name).is_file()]
        if locks:
            return _chosen(locks, folder=folder, named=named)
        if folder in (root, folder.parent):
            break
        folder = folder.parent
    manager = named[0] if named else "npm"
    raise BuildError(
        "there is no lock file, so two builds of this commit could differ",
        code="lockfile-missing",
        fix=f"run `{_MAKE_LOCK[manager]}` and commit the lock file that it writes",
    )


def _named(package: dict[str, Any]) -> tuple[PackageManager, str] | None:
    value = package.get("packageManager")
    if value is None:
        return None
    match = _NAMED.fullmatch(str(value))
    if not match:
        raise BuildError(
            f"packageManager in package.json is {value!r}",
            code="package-manager-unknown",
            fix="write npm, pnpm, yarn or bun with an exact version, such as pnpm@10.34.0",
        )
    return match[1], match[2]  # type: ignore[return-value]


def _chosen(locks: list[Path], *, folder: Path, named: tuple[PackageManager, str] | None) -> Manager:
    managers = {_LOCKS[lock.name] for lock in locks}
    if named:
        fitting = [lock for lock in locks if _LOCKS[lock.name] == named[0]]
        if not fitting:
            raise BuildError(
                f"packageManager names {named[0]}, but the lock file is {locks[0].name}",
                code="lockfile-mismatch",
                fix=f"run `{_MAKE_LOCK[named[0]]}` and commit its lock file, or correct packageManager",
            )
        return _manager(fitting[0], folder=folder, version=named[1])
    if len(managers) > 1:
        raise BuildError(
            f"there are lock files of several package managers: {', '.join(lock.name for lock in locks)}",
            code="lockfiles-several",
            fix='remove all but one, or say which one counts: "packageManager" in package.json',
        )
    return _manager(locks[0], folder=folder, version=None)


def _manager(lockfile: Path, *, folder: Path, version: str | None) -> Manager:
    name = _LOCKS[lockfile.name]
    version = version or DEFAULT_VERSIONS[name]
    if name == "yarn" and version == DEFAULT_VERSIONS["yarn"] and "__metadata:" in lockfile.read_text(errors="replace"):
        raise BuildError(
            "yarn.lock was written by Yarn 2 or later, but package.json does not say which",
            code="package-manager-unknown",
            fix='add "packageManager": "yarn@4.x.y" (exact) to package.json; `yarn --version` prints it',
        )
    return Manager(name=name, version=version, lockfile=lockfile, folder=folder, install=_install(name, version))


def _install(name: PackageManager, version: str | None) -> tuple[str, ...]:
    if name == "npm":
        return ("npm", "ci", "--no-audit", "--no-fund")
    if name == "yarn":
        classic = (version or "1").startswith("1.")
        return ("yarn", "install", "--frozen-lockfile" if classic else "--immutable")
    return (name, "install", "--frozen-lockfile")


def run_script(name: PackageManager, script: str) -> tuple[str, ...]:
    """The argv that runs a script of package.json."""
    return (name, "run", script)


def run_binary(name: PackageManager, *words: str) -> tuple[str, ...]:
    """The argv that runs a command of an installed package, wherever in the workspace it was installed."""
    match name:
        case "npm":
            return ("npm", "exec", "--offline", "--", *words)
        case "pnpm":
            return ("pnpm", "exec", *words)
        case _:
            return (name, "run", *words)
