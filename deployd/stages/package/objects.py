"""Contents -> objects named by their hash: `artifacts/objects/ab/<sha256>`.

Each is written aside and renamed, so one that is there is whole.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from deployd.errors import PackageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GRACE = 3600.0  # seconds for which an object may wait for its manifest
_CHUNK = 1 << 20
_WHOLE = 1 << 23  # read at once up to this size


def path_of(artifacts: Path, sha256: str) -> Path:
    """Where the content of that hash is."""
    return artifacts / "objects" / sha256[:2] / sha256


def store_file(source: str, *, artifacts: Path) -> tuple[str, int, bool]:
    """Copy a file's content into the objects; returns its hash, its size, and whether it is to be run."""
    with open(source, "rb") as opened:  # noqa: PTH123 - 1,300 files: text is quicker than Path here
        facts = os.fstat(opened.fileno())
        runs = bool(facts.st_mode & 0o111)
        if facts.st_size > _WHOLE:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
            if not has(artifacts, sha256, size=facts.st_size):
                opened.seek(0)
                store_stream(opened, sha256=sha256, artifacts=artifacts)
            return sha256, facts.st_size, runs
        content = opened.read()
    sha256 = hashlib.sha256(content).hexdigest()
    store_bytes(content, sha256=sha256, artifacts=artifacts)
    return sha256, len(content), runs


def store_bytes(content: bytes, *, sha256: str, artifacts: Path) -> None:
    """Store a content under its hash."""
    if not has(artifacts, sha256, size=len(content)):
        with _aside(artifacts, sha256) as out:
            _write(out, content)


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


def has(artifacts: Path, sha256: str, *, size: int) -> bool:
    """Whether the whole object is there; it is young again then, for `collect`."""
    target = f"{artifacts}/objects/{sha256[:2]}/{sha256}"
    try:
        facts = os.stat(target)  # noqa: PTH116 - asked for each file of each release
    except FileNotFoundError:
        return False
    if facts.st_size != size:
        return False  # cut short by a crash
    if time.time() - facts.st_mtime > GRACE / 2:
        os.utime(target)
    return True


@contextmanager
def _aside(artifacts: Path, sha256: str) -> Iterator[IO[bytes]]:
    """A new file that becomes the object `sha256` when all of it was written, and nothing otherwise."""
    folder = f"{artifacts}/objects/{sha256[:2]}"
    aside = f"{folder}/.{sha256}.{os.getpid()}.{os.urandom(4).hex()}"
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    try:
        descriptor = os.open(aside, flags, 0o444)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - text is quicker
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
