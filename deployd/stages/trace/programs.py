"""What tracing needs of Node.js: @vercel/nft at a pinned version, picomatch, and one way to run a script with them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd import process, sandbox
from deployd.errors import CommandError, PackageError, SandboxError

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

_HERE = Path(__file__).parent
_NFT = "@vercel/nft"
_TYPES = "amaro"  # what Node.js itself takes types out with
_ANALYSIS_TIME = 900.0  # seconds


def run(
    script: str,
    job: Mapping[str, Any],
    *,
    root: Path,
    reads: Sequence[Path] = (),
    writes: Sequence[Path] = (),
    cancel: threading.Event | None = None,
) -> dict[str, Any]:
    """Run one of `scripts/` on a job; returns its answer. Raises CommandError.

    Some load code of the app's own packages. So where the app was built in the sandbox, this runs in one too, and sees
    the app's tree (`root`) and `reads`, writes `writes`, and has no network.
    """
    node = shutil.which("node")
    if node is None:
        raise CommandError(
            "there is no `node` on PATH, with which the app's files are found",
            code="command-missing",
            fix="install Node.js with npm on the machine that builds (/usr/bin or /usr/local/bin for the daemon)",
        )
    with tempfile.TemporaryDirectory(prefix="deployd-trace-") as folder:
        asked, answer = Path(folder) / "job.json", Path(folder) / "answer.json"
        asked.write_text(json.dumps(job))
        argv = [node, str(_HERE / "scripts" / f"{script}.mjs"), str(asked), str(answer)]
        if _is_contained(root):
            seen = [root, _HERE / "scripts", Path(argv[0]), *reads]
            written = [Path(folder), *writes]
            for path in written:
                sandbox.give(path)
            for path in (root, *reads) if sandbox.is_elsewhere() else ():
                sandbox.show(path)
            argv = [
                *sandbox.alone(
                    argv,
                    readonly={str(path): str(path) for path in seen if path.exists()},
                    writable={str(path): str(path) for path in written},
                    cwd=folder,
                )
            ]
        process.run(argv, cwd=folder, timeout=_ANALYSIS_TIME, cancel=cancel)
        with os.fdopen(os.open(answer, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8") as file:
            data: dict[str, Any] = json.load(file)
        return data


def _is_contained(root: Path) -> bool:
    """Whether the tree belongs to the user of builds, or (deployd is not root) a sandbox can be had.

    A person's own folder, and what `build_sandbox = "off"` built, are trusted like deployd itself.
    """
    who = sandbox.account()
    if who is not None and not sandbox.is_elsewhere():
        return root.lstat().st_uid == who.uid
    try:
        sandbox.check()
    except SandboxError:
        return False
    return True


def version(of: str = _NFT) -> str:
    """The pinned version of a package, @vercel/nft if none is named."""
    return str(json.loads((_HERE / "tool" / "package.json").read_text())["dependencies"][of])


def folder_name() -> str:
    """The name of the folder that they are installed in: another version, another folder."""
    return f"nft-{version()}-types-{version(_TYPES)}"


def types(tools: Path, *, cancel: threading.Event | None = None) -> Path:
    """The module that takes the types out of TypeScript."""
    return tool(tools, cancel=cancel) / _TYPES


def tool(tools: Path, *, cancel: threading.Event | None = None) -> Path:
    """The folder of node_modules with @vercel/nft, installed once below `tools` as the shipped lock file says.

    Raises PackageError when it cannot be had.
    """
    folder = tools / folder_name()
    modules = folder / "node_modules"
    if (modules / _NFT / "package.json").is_file():
        return modules
    tools.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=tools, prefix=".fetching-"))
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(_HERE / "tool" / name, aside / name)
        process.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=aside, env=_registry(), timeout=600, cancel=cancel,
        )  # fmt: skip
        if not modules.is_dir():  # else another process was quicker
            shutil.rmtree(folder, ignore_errors=True)
            sandbox.show(aside)
            aside.rename(folder)
    except CommandError as error:
        raise PackageError(
            f"{_NFT} {version()}, which finds the files of a Node.js server, could not be had through npm",
            code="tracer-missing",
            details=error.details,
            fix=f"see why `npm view {_NFT}@{version()}` fails on this machine, or add {_NFT} to the app's packages",
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return modules


def nft(tools: Path, *, app_dir: Path, root: Path, cancel: threading.Event | None = None) -> tuple[Path, str | None]:
    """The module to load as nft, and a warning when npm could not get the pinned one and the app's own has to do."""
    try:
        return tool(tools, cancel=cancel) / _NFT, None
    except PackageError:
        for name in (_NFT, f"next/dist/compiled/{_NFT}"):
            own = of_app(name, app_dir=app_dir, root=root)
            if own is not None:
                return own, f"{_NFT} {version()} could not be had: the app's own is used, {own.relative_to(root)}"
        raise


def picomatch(tools: Path, *, app_dir: Path, root: Path, cancel: threading.Event | None = None) -> Path:
    """The picomatch that the app's Next.js brings, else the one that @vercel/nft uses."""
    own = of_app("next/dist/compiled/picomatch", app_dir=app_dir, root=root)
    return own or tool(tools, cancel=cancel) / "picomatch"


def of_app(name: str, *, app_dir: Path, root: Path) -> Path | None:
    """A module that the app can load: in its node_modules, or one above it up to the root."""
    for folder in (app_dir, *app_dir.parents):
        if (folder / "node_modules" / name).is_dir():
            return folder / "node_modules" / name
        if folder == root:
            return None
    return None


def _registry() -> dict[str, str]:
    """How this machine reaches its package registry."""
    wanted = ("npm_config_", "http_proxy", "https_proxy", "no_proxy", "all_proxy", "node_extra_ca_certs", "ssl_cert_")
    kept = {name: value for name, value in os.environ.items() if name.lower().startswith(wanted)}
    return {name: value for name, value in kept.items() if "ignore_scripts" not in name.lower()}
