"""FileSet -> Artifact: each file stored once under its hash, and a manifest that names them all.

`artifacts/objects/ab/<sha256>` are the contents, `artifacts/manifests/<name>.json` the manifests. An object is written
aside and renamed, so one that is there is whole.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from deployd.domain.artifact import Artifact, FileEntry, LinkEntry, Manifest
from deployd.domain.ids import ArtifactName
from deployd.errors import NotFoundError, PackageError
from deployd.stages.package import layout

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from deployd.domain.stages import FileSet, TracedFile

_CHUNK = 1 << 20
_WHOLE = 1 << 23  # read at once up to this size
_GRACE = 3600.0
_LIBC = ctypes.CDLL(None, use_errno=True)


def package(files: FileSet, *, built: int, artifacts: Path) -> Artifact:
    """Store the files and write their manifest; raises PackageError when one cannot be read or has no right place."""
    with ThreadPoolExecutor(
        max_workers=os.cpu_count() or 2
    ) as pool:  # hashing and copying release the interpreter's lock
        entries = list(pool.map(lambda file: _entry(file, artifacts=artifacts), files.files))
    sha256, size, _ = _store(str(Path(__file__).with_name("listen.cjs")), artifacts=artifacts)
    entries.append(FileEntry(path=layout.SHIM, mode=0o644, size=size, sha256=sha256))
    manifest = Manifest(
        entry=files.entry,
        files=tuple(sorted(entries, key=lambda entry: entry.path)),
        writable=files.writable,
        assets=files.assets,
        public=files.public,
        built=built,
    )
    layout.check(manifest)
    return write(manifest, artifacts=artifacts)


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
            json.dump(manifest.to_json(), out, separators=(",", ":"))
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


def object_path(artifacts: Path, sha256: str) -> Path:
    """Where the content of that hash is."""
    return artifacts / "objects" / sha256[:2] / sha256


def collect(artifacts: Path, *, keep: Collection[ArtifactName], grace: float = _GRACE) -> int:
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
        sha256, size, runs = _store(file.source, artifacts=artifacts)
    except OSError as error:
        raise PackageError(
            f"{file.path!r} could not be packaged: {error.strerror}",
            code="package-failed",
            fix="see the disk and the file",
        ) from error
    return FileEntry(path=file.path, mode=0o755 if runs else 0o644, size=size, sha256=sha256, time=file.time)


def _store(source: str, *, artifacts: Path) -> tuple[str, int, bool]:
    """Copy a file's content into the objects; returns its hash, its size, and whether it is to be run."""
    with open(source, "rb") as opened:  # noqa: PTH123 - 1,300 files: text is quicker than Path here
        facts = os.fstat(opened.fileno())
        runs = bool(facts.st_mode & 0o111)
        if facts.st_size > _WHOLE:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
            if not _has(artifacts, sha256, size=facts.st_size):
                opened.seek(0)
                store_stream(opened, sha256=sha256, artifacts=artifacts)
            return sha256, facts.st_size, runs
        content = opened.read()
    sha256 = hashlib.sha256(content).hexdigest()
    if not _has(artifacts, sha256, size=len(content)):
        with _aside(artifacts, sha256) as out:
            _write(out, content)
    return sha256, len(content), runs


def _has(artifacts: Path, sha256: str, *, size: int) -> bool:
    target = object_path(artifacts, sha256)
    try:
        facts = target.stat()
    except FileNotFoundError:
        return False
    if facts.st_size != size:
        return False  # cut short by a crash
    if time.time() - facts.st_mtime > _GRACE / 2:
        os.utime(target)  # young again, for `collect`
    return True


@contextmanager
def _aside(artifacts: Path, sha256: str) -> Iterator[IO[bytes]]:
    """A new file that becomes the object `sha256` when all of it was written, and nothing otherwise."""
    folder = artifacts / "objects" / sha256[:2]
    aside = f"{folder}/.{sha256}.{os.getpid()}.{os.urandom(4).hex()}"
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    try:
        descriptor = os.open(aside, flags, 0o444)
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(aside, flags, 0o444)
    try:
        with open(descriptor, "wb", buffering=0) as out:  # noqa: PTH123 - a descriptor
            yield out
        os.rename(aside, f"{folder}/{sha256}")  # noqa: PTH104 - text is quicker
    except BaseException:
        os.unlink(aside)  # noqa: PTH108 - text is quicker
        raise


def _write(out: IO[bytes], content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[out.write(view) :]


def store_stream(source: IO[bytes], *, sha256: str, artifacts: Path) -> int:
    """Store a stream under the hash that it must have; raises PackageError when it has another."""
    digest, size = hashlib.sha256(), 0
    with _aside(artifacts, sha256) as out:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            _write(out, chunk)
        if digest.hexdigest() != sha256:
            raise PackageError(
                "a file changed while it was packaged",
                code="package-changed",
                fix="let nothing write to the build, and try again",
            )
    return size
