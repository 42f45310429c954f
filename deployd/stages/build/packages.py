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
    from deployd.stages.build.workspaces import Workspace

LOCKS: dict[str, PackageManager] = {
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
_PNPM_FORMAT = 9
_BUN_FORMAT = 1
_FORMATS: dict[tuple[PackageManager, int], str] = {
    ("yarn", 6): "3.8.7", ("yarn", 8): "4.5.0", ("yarn", 10): "4.18.1", ("pnpm", 5): "7.33.7", ("pnpm", 6): "8.15.9",
    ("bun", 2): "1.4.5",
}  # fmt: skip
DEFAULT_VERSIONS: dict[str, str | None] = {"npm": None, "pnpm": "10.34.0", "yarn": "1.22.22", "bun": "1.3.0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """The package manager of an app. `folder` is where the lock file lies: the app's, or its workspace's root."""

    name: PackageManager
    version: str | None
    lockfile: Path
    folder: Path

    @property
    def lockfile_sha256(self) -> str:
        """The lock file's hash."""
        return hashlib.sha256(self.lockfile.read_bytes()).hexdigest()


def find(app_dir: Path, *, root: Path, package: dict[str, Any]) -> Manager:
    """Find the manager and its lock file, from the app's folder up to the repository's root; raises BuildError."""
    named = _named(package)
    folder = app_dir
    while True:
        locks = [folder / name for name in LOCKS if (folder / name).is_file()]
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
    managers = {LOCKS[lock.name] for lock in locks}
    if named:
        fitting = [lock for lock in locks if LOCKS[lock.name] == named[0]]
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
    name = LOCKS[lockfile.name]
    _refuse_conflict(lockfile)
    if version is None and name != "npm":
        version = _written_by(name, lockfile)
    return Manager(name=name, version=version or DEFAULT_VERSIONS[name], lockfile=lockfile, folder=folder)


def _refuse_conflict(lockfile: Path) -> None:
    """A merge that nobody finished: package managers take one side, or say that they cannot read it."""
    if re.search(rb"^<{7} .*\n(?:.*\n)*?={7}$", lockfile.read_bytes(), re.MULTILINE):
        raise BuildError(
            f"{lockfile.name} holds the two sides of a merge conflict",
            code="lockfile-invalid",
            fix=f"run `{_MAKE_LOCK[LOCKS[lockfile.name]]}` and commit the lock file that it writes",
        )


def _written_by(name: PackageManager, lockfile: Path) -> str | None:
    """The version that reads a lock file of this format; None for the newest format."""
    text = lockfile.read_text(errors="replace") if lockfile.suffix != ".lockb" else ""
    if name == "yarn" and "__metadata:" not in text:
        return None
    if name == "yarn" and (own := _yarn_path(lockfile.with_name(".yarnrc.yml"))):
        return own
    pattern = r"__metadata:\s+version: (\d+)" if name == "yarn" else r"lockfileVersion\"?:\s*'?(\d+)"
    written = re.search(pattern, text)
    if written is None or (name == "pnpm" and int(written[1]) >= _PNPM_FORMAT):
        return None
    if name == "bun" and int(written[1]) <= _BUN_FORMAT:
        return None
    version = _FORMATS.get((name, int(written[1])))
    if version is None:
        raise BuildError(
            f"{lockfile.name} is of the format {written[1]}, and package.json does not say which {name} wrote it",
            code="package-manager-unknown",
            fix=f'add "packageManager": "{name}@x.y.z" (exact) to package.json; `{name} --version` prints it',
        )
    return version


def _yarn_path(settings: Path) -> str | None:
    """The version of the Yarn that a repository brings along."""
    text = settings.read_text(errors="replace") if settings.is_file() else ""
    found = re.search(r"^yarnPath:.*yarn-(\d+\.\d+\.\d+)\.cjs", text, re.MULTILINE)
    return found[1] if found else None


def install(manager: Manager, workspace: Workspace | None) -> tuple[str, ...]:
    """The argv that installs from the lock file only; of a workspace what the app and its root need, where it can.

    Yarn installs everything: `workspaces focus` does not look whether the lock file fits (measured with 4.5).
    """
    apart = workspace if workspace and workspace.others else None
    folders = [one.folder for one in (apart.app, *apart.needed)] if apart else []
    match manager.name:
        case "npm":
            words = ["npm", "ci", "--no-audit", "--no-fund"]
            words += ["-w", folders[0], "--include-workspace-root"] if folders else []
        case "pnpm":
            words = ["pnpm", "install", "--frozen-lockfile"]
            for name in (f"{{{folder}}}..." for folder in folders):
                words += ["--filter", name]
            words += ["--filter", "{.}"] if folders else []
        case "yarn":
            words = ["yarn", "install", "--frozen-lockfile" if is_classic(manager.version) else "--immutable"]
        case _:
            words = ["bun", "install", "--frozen-lockfile"]
            for name in (f"./{folder}" for folder in folders):
                words += ["--filter", name]
            words += ["--filter", "./"] if folders else []
    return tuple(words)


def is_classic(version: str | None) -> bool:
    """Whether a version of Yarn is Yarn 1."""
    return (version or "1").startswith("1.")


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
