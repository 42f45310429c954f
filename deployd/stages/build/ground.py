"""Checkout, caches and tools -> the ground that a build runs on: its home, its variables, and what it is contained in.

In a sandbox the home is new for each build, and only the package managers' stores in it are kept. Without one it is the
kept folder itself.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import sandbox
from deployd.stages.build.environment import REGISTRY_FILES, make_home, registry_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_HOME = "/home/build"
# below a home: where npm, Yarn, pnpm, Bun and what they call keep what they fetched
_STORES = (".npm", ".cache", ".local/share/pnpm", ".yarn", ".bun", ".node-gyp")
_PROCESSES = 4096
_SYSTEM = ("/usr", "/bin", "/sbin", "/opt", "/nix", "/gnu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """`home` and `path` as the build sees them; `registry` are variables; `box` is None where nothing contains it."""

    home: str
    path: str
    registry: Mapping[str, str]
    box: sandbox.Sandbox | None

    def argv(self, argv: Sequence[str], *, cwd: Path) -> tuple[str, ...]:
        """The argv that runs a command on this ground."""
        if self.box is None:
            return tuple(argv)
        # the kernel counts the account's processes, or (deployd is not root) those of the build's own user namespace
        argv = ("prlimit", f"--nproc={_PROCESSES}", "--core=0", "--", *argv)
        return sandbox.wrap(argv, self.box.at(str(cwd)), account=sandbox.account())


@contextmanager
def ground(
    *,
    root: Path,
    zone: Path,
    node: Path,
    tools: Path | None,
    hidden: Sequence[Path],
    contained: bool,
    readable: Sequence[Path] = (),
) -> Iterator[Ground]:
    """Make the ground for one build in `root`; `zone` is the folder of what the environment's builds keep.

    `hidden` are folders that no build may see, wherever they lie; `readable` are files of deployd's own that it may.
    Raises SandboxError.
    """
    stores = zone / "stores"
    stores.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(_used(zone))
        if not contained:
            make_home(stores)
            path = _path(node, tools, os.environ.get("PATH", "/usr/bin:/bin").split(":"))
            yield Ground(home=str(stores), path=path, registry=registry_environment(), box=None)
            return
        sandbox.check()
        private = Path(stack.enter_context(sandbox.private(zone, home=_HOME)))
        writable = {str(root): str(root), str(_new_home(private)): _HOME} | _kept_stores(stores)
        if tools:
            sandbox.show(tools.parent.parent)
        readonly = {str(node): str(node)} | ({str(tools.parent.parent): str(tools.parent.parent)} if tools else {})
        readonly |= {str(path): str(path) for path in readable}
        words = [word for word in os.environ.get("PATH", "").split(":") if word.startswith(_SYSTEM)]
        npm = shutil.which("npm")
        if npm and not npm.startswith(_SYSTEM):  # a version manager's, in the operator's home
            prefix = Path(npm).parent.parent
            readonly[str(prefix)] = str(prefix)
            words.insert(0, str(Path(npm).parent))
        registry, files = _registry(private)
        sandbox.give(root)
        box = sandbox.Sandbox(
            readonly=readonly | files,
            writable=writable,
            hidden=tuple(str(path) for path in hidden),
            private=str(private),
            network=True,
        )
        yield Ground(home=_HOME, path=_path(node, tools, words), registry=registry, box=box)


def _path(node: Path, tools: Path | None, others: Sequence[str]) -> str:
    return ":".join(dict.fromkeys([str(node.parent), *([str(tools)] if tools else []), *others, "/usr/bin", "/bin"]))


@contextmanager
def _used(zone: Path) -> Iterator[None]:
    """While builds use the stores, no clean-up removes them."""
    descriptor = os.open(zone / ".stores.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _new_home(private: Path) -> Path:
    """A home with the operator's registry settings in it, as copies: theirs may be for their own eyes."""
    home, operator = private / "home", Path(os.environ.get("HOME") or "/root")
    home.mkdir(mode=0o700)
    for name in REGISTRY_FILES:
        if (operator / name).is_file():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(operator / name, home / name)
    for name in _STORES:
        (home / name).mkdir(parents=True, exist_ok=True)
    sandbox.give(home)
    return home


def _kept_stores(stores: Path) -> dict[str, str]:
    for name in _STORES:
        (stores / name).mkdir(parents=True, exist_ok=True)
    owner = sandbox.account()
    if owner and any((stores / name).stat().st_uid != owner.uid for name in _STORES):
        sandbox.give(stores)
    return {str(stores / name): f"{_HOME}/{name}" for name in _STORES}


def _registry(private: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The registry's variables, and the files that they name: copies, at their own places, that the build may read."""
    variables, files = registry_environment(), dict[str, str]()
    for number, value in enumerate(variables.values()):
        if value.startswith("/") and Path(value).is_file() and not value.startswith((*_SYSTEM, "/etc/")):
            copy = private / f"given-{number}"
            shutil.copyfile(value, copy)
            sandbox.give(copy)
            sandbox.show(copy)  # who reaches it is for `private`
            files[str(copy)] = value
    return variables, files
