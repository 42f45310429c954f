"""FileSet -> Artifact: each file stored once under its hash, and a manifest that names them all.

`artifacts/objects/ab/<sha256>` are the contents, `artifacts/manifests/<name>.json` the manifests.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.artifact import Artifact, FileEntry, LinkEntry, Manifest
from deployd.domain.ids import ArtifactName
from deployd.errors import NotFoundError, PackageError
from deployd.stages.package import compressed, layout, objects

if TYPE_CHECKING:
    from collections.abc import Collection

    from deployd.domain.stages import FileSet, TracedFile

_LIBC = ctypes.CDLL(None, use_errno=True)


def package(files: FileSet, *, built: int, artifacts: Path) -> Artifact:
    """Store the files and write their manifest; raises PackageError when one cannot be read or has no right place.

    What the web server sends gets its compressed siblings. A site without a process has no listen shim either.
    """
    with ThreadPoolExecutor(
        max_workers=os.cpu_count() or 2
    ) as pool:  # hashing and copying release the interpreter's lock
        entries = list(pool.map(lambda file: _entry(file, artifacts=artifacts), files.files))
    if files.static is None:
        content = shim()
        sha256 = hashlib.sha256(content).hexdigest()
        objects.store_bytes(content, sha256=sha256, artifacts=artifacts)
        entries.append(FileEntry(path=layout.SHIM, mode=0o644, size=len(content), sha256=sha256))
    plain = [entry for entry in entries if isinstance(entry, FileEntry)]
    entries += compressed.siblings(plain, files, artifacts=artifacts)
    manifest = Manifest(
        entry=files.entry,
        files=tuple(sorted(entries, key=lambda entry: entry.path)),
        writable=files.writable,
        assets=files.assets,
        public=files.public,
        built=built,
        seeded=files.seeded,
        static=files.static,
        ask_first=files.ask_first,
    )
    layout.check(manifest)
    return write(manifest, artifacts=artifacts)


def shim() -> bytes:
    """What is loaded into every server before its own code: the listening socket, and the cache that hosts share."""
    here = Path(__file__)
    return b"\n".join(here.with_name(name).read_bytes() for name in ("listen.cjs", "cache.cjs"))


def write(manifest: Manifest, *, artifacts: Path) -> Artifact:
    """Write a manifest whose objects are stored. One of the same name that is there stays: equal content, one time.

    Objects first, then the manifest that names them: after a power cut each is whole or absent.
    """
    path = manifest_path(artifacts, manifest.name)
    if path.exists():
        manifest = load(artifacts, manifest.name)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sync_filesystem(path.parent)
        aside = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
        with aside.open("w") as out:
            out.write(json.dumps(manifest.to_json(), separators=(",", ":")))  # `dump` is ten times slower
            out.flush()
            os.fsync(out.fileno())
        aside.rename(path)
        _sync_folder(path.parent)
    return Artifact(name=manifest.name, manifest_path=str(path), files=len(manifest.files), size=manifest.size)


def load(artifacts: Path, name: ArtifactName) -> Manifest:
    """Read an artifact's manifest; raises NotFoundError."""
    try:
        return Manifest.from_json(json.loads(manifest_path(artifacts, name).read_text()))
    except FileNotFoundError as error:
        raise NotFoundError(
            f"the artifact {name} is not here",
            code="artifact-missing",
            fix="build it again: deployd release --no-cache",
        ) from error


def manifest_path(artifacts: Path, name: ArtifactName) -> Path:
    """Where an artifact's manifest is."""
    return artifacts / "manifests" / f"{name}.json"


def collect(artifacts: Path, *, keep: Collection[ArtifactName], grace: float = objects.GRACE) -> int:
    """Remove every artifact but `keep`, and the objects that none of them names; returns the bytes freed.

    Objects younger than `grace` seconds stay: their manifest may be on its way.
    """
    needed: set[str] = set()
    for path in (artifacts / "manifests").glob("*.json"):
        if path.stem not in keep:
            path.unlink()
            continue
        manifest = load(artifacts, ArtifactName.parse(path.stem))
        needed |= {entry.sha256 for entry in manifest.files if isinstance(entry, FileEntry)}
    freed, now = 0, time.time()
    for path in (artifacts / "objects").glob("*/*"):
        facts = path.stat()
        if path.name not in needed and facts.st_mtime <= now - grace:
            freed += facts.st_size
            path.unlink()
    compressed.collect(artifacts, needed=needed)
    return freed


def _sync_filesystem(folder: Path) -> None:
    # one call for all the new objects, in place of an fsync for each
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _LIBC.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise PackageError(
                f"the artifacts could not be written to the disk: {os.strerror(number)}",
                code="package-failed",
                fix="see the disk and the file",
            )
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _entry(file: TracedFile, *, artifacts: Path) -> FileEntry | LinkEntry:
    if file.symlink is not None:
        return LinkEntry(path=file.path, target=file.symlink)
    try:
        sha256, size, runs = objects.store_file(file.source, artifacts=artifacts)
    except OSError as error:
        raise PackageError(
            f"{file.path!r} could not be packaged: {error.strerror}",
            code="package-failed",
            fix="see the disk and the file",
        ) from error
    return FileEntry(path=file.path, mode=0o755 if runs else 0o644, size=size, sha256=sha256, time=file.time)
