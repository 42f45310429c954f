"""FileSet -> Artifact: each file stored once under its hash, and a manifest that names them all.

`artifacts/objects/ab/<sha256>` are the contents, `artifacts/manifests/<name>.json` the manifests. An object is written
aside and renamed, so one that is there is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING

from deployd.domain.artifact import Artifact, FileEntry, LinkEntry, Manifest
from deployd.domain.ids import ArtifactName
from deployd.errors import NotFoundError, PackageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from deployd.domain.stages import FileSet, TracedFile

SHIM = ".deployd/listen.cjs"
_CHUNK = 1 << 20


def package(files: FileSet, *, built: int, artifacts: Path) -> Artifact:
    """Store the files and write their manifest; raises PackageError when one cannot be read."""
    with ThreadPoolExecutor(max_workers=4) as pool:  # hashing and copying release the interpreter's lock
        entries = list(pool.map(lambda file: _entry(file, artifacts=artifacts), files.files))
    shim = Path(__file__).with_name("listen.cjs")
    sha256, size = _store(shim, artifacts=artifacts)
    entries.append(FileEntry(path=SHIM, mode=0o644, size=size, sha256=sha256))
    manifest = Manifest(
        entry=files.entry,
        files=tuple(sorted(entries, key=lambda entry: entry.path)),
        writable=files.writable,
        assets=files.assets,
        public=files.public,
        built=built,
    )
    return write(manifest, artifacts=artifacts)


def write(manifest: Manifest, *, artifacts: Path) -> Artifact:
    """Write a manifest whose objects are stored. One of the same name that is there stays: equal content, one time."""
    path = manifest_path(artifacts, manifest.name)
    if path.exists():
        manifest = load(artifacts, manifest.name)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        with aside.open("w") as out:
            json.dump(manifest.to_json(), out, separators=(",", ":"))
            out.flush()
            os.fsync(out.fileno())
        aside.rename(path)
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


def object_path(artifacts: Path, sha256: str) -> Path:
    """Where the content of that hash is."""
    return artifacts / "objects" / sha256[:2] / sha256


def collect(artifacts: Path, *, keep: Collection[ArtifactName]) -> int:
    """Remove every artifact but `keep`, and the objects that none of them names; returns the bytes freed."""
    needed: set[str] = set()
    for path in (artifacts / "manifests").glob("*.json"):
        if path.stem not in keep:
            path.unlink()
            continue
        manifest = load(artifacts, ArtifactName.parse(path.stem))
        needed |= {entry.sha256 for entry in manifest.files if isinstance(entry, FileEntry)}
    freed = 0
    for path in (artifacts / "objects").glob("*/*"):
        if path.name not in needed:
            freed += path.stat().st_size
            path.unlink()
    return freed


def _entry(file: TracedFile, *, artifacts: Path) -> FileEntry | LinkEntry:
    if file.symlink is not None:
        return LinkEntry(path=file.path, target=file.symlink)
    source = Path(file.source)
    try:
        sha256, size = _store(source, artifacts=artifacts)
        runs = stat.S_IMODE(source.stat().st_mode) & 0o111
    except OSError as error:
        raise PackageError(
            f"{file.path!r} could not be packaged: {error.strerror}",
            code="package-failed",
            fix="see the disk and the file",
        ) from error
    return FileEntry(path=file.path, mode=0o755 if runs else 0o644, size=size, sha256=sha256, time=file.time)


def _store(source: Path, *, artifacts: Path) -> tuple[str, int]:
    """Copy a file's content into the objects; returns its hash and size."""
    with source.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        target = object_path(artifacts, sha256)
        if target.exists():
            return sha256, target.stat().st_size
        opened.seek(0)
        target.parent.mkdir(parents=True, exist_ok=True)
        return sha256, store_stream(opened, sha256=sha256, artifacts=artifacts)


def store_stream(source: IO[bytes], *, sha256: str, artifacts: Path) -> int:
    """Store a stream under the hash that it must have; raises PackageError when it has another."""
    target = object_path(artifacts, sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{sha256}.{os.getpid()}.{os.urandom(4).hex()}")
    digest, size = hashlib.sha256(), 0
    with aside.open("wb") as out:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            size += out.write(chunk)
    if digest.hexdigest() != sha256:
        aside.unlink()
        raise PackageError(
            "a file changed while it was packaged",
            code="package-changed",
            fix="let nothing write to the build, and try again",
        )
    aside.chmod(0o444)
    aside.rename(target)
    return size
