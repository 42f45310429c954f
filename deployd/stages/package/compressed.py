"""Entries of files that the web server sends -> entries of their compressed siblings (`app.js.br`, `app.js.gz`).

Each content is compressed once: `artifacts/compressed/ab/<sha256>` names what came of it, for the next time.

There is no zstd: brotli at its best is 6 % smaller on Next.js's own chunks, and every browser that takes zstd takes
brotli too.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from deployd.domain.artifact import FileEntry
from deployd.errors import PackageError
from deployd.stages.package import objects

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from deployd.domain.stages import FileSet

SUFFIXES = (".br", ".gz")
_FORMAT = 1
_TEXT = (
    ".js", ".mjs", ".cjs", ".css", ".html", ".htm", ".svg", ".json", ".xml", ".txt", ".md", ".map", ".wasm", ".ttf",
    ".otf", ".eot", ".ico", ".bmp", ".csv", ".webmanifest", ".rss", ".atom", ".vtt", ".geojson", ".glb", ".gltf",
)  # fmt: skip
_LEAST = 1024  # smaller ones fit into the first packet as they are
_PAYS = 0.9
_QUICKER_FROM, _MOST = 2 << 20, 64 << 20  # brotli's best takes a second for each megabyte, its 9 a tenth of that


def siblings(entries: Iterable[FileEntry], files: FileSet, *, artifacts: Path) -> list[FileEntry]:
    """Entries for what is worth compressing among `entries`, compressing what was not before.

    Raises PackageError when the disk refuses.
    """
    entries = list(entries)
    taken = {entry.path for entry in entries}
    folders = served(files)
    wanted = [entry for entry in entries if _worth_a_try(entry, folders)]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:  # brotli and zlib release the interpreter's lock
        try:
            found = list(pool.map(lambda entry: _compressed(entry.sha256, artifacts=artifacts), wanted))
        except OSError as error:
            raise PackageError(
                f"the compressed files could not be stored: {error.strerror}",
                code="package-failed",
                fix="see the disk and the file",
            ) from error
    return [
        FileEntry(path=entry.path + suffix, mode=0o644, size=size, sha256=sha256)
        for entry, by_suffix in zip(wanted, found, strict=True)
        for suffix, (sha256, size) in by_suffix.items()
        if entry.path + suffix not in taken
    ]


def served(files: FileSet) -> tuple[str, ...]:
    """The folders that the web server itself serves, each with a last slash."""
    folders = {*files.assets.values(), *files.public.values(), *([files.static.folder] if files.static else [])}
    return tuple(f"{folder}/" for folder in sorted(folders))


def collect(artifacts: Path, *, needed: Collection[str]) -> None:
    """Forget what came of contents that no artifact has any more."""
    for path in (artifacts / "compressed").glob("*/*"):
        if path.name not in needed:
            path.unlink(missing_ok=True)


def _worth_a_try(entry: FileEntry, folders: tuple[str, ...]) -> bool:
    return entry.path.startswith(folders) and entry.path.lower().endswith(_TEXT) and _LEAST < entry.size <= _MOST


def _compressed(sha256: str, *, artifacts: Path) -> dict[str, tuple[str, int]]:
    record = artifacts / "compressed" / sha256[:2] / sha256
    known = _read(record, artifacts=artifacts)
    if known is not None:
        return known
    content = objects.path_of(artifacts, sha256).read_bytes()
    made = {}
    for suffix, small in (
        (".br", _brotli(content)),
        (".gz", gzip.compress(content, 9, mtime=0)),
    ):
        if len(small) <= len(content) * _PAYS:
            made[suffix] = (hashlib.sha256(small).hexdigest(), len(small))
            objects.store_bytes(small, sha256=made[suffix][0], artifacts=artifacts)
    record.parent.mkdir(parents=True, exist_ok=True)
    aside = record.with_name(f".{record.name}.{os.urandom(4).hex()}")
    aside.write_text(json.dumps({"v": _FORMAT, "made": made}))
    aside.rename(record)
    return made


def _read(record: Path, *, artifacts: Path) -> dict[str, tuple[str, int]] | None:
    """What came of it before, if all of that is still there."""
    try:
        told: Mapping[str, Any] = json.loads(record.read_text())
        made = {suffix: (str(sha256), int(size)) for suffix, (sha256, size) in told["made"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if told.get("v") != _FORMAT or not made.keys() <= set(SUFFIXES):
        return None
    return made if all(objects.has(artifacts, sha256, size=size) for sha256, size in made.values()) else None


def _brotli(content: bytes) -> bytes:
    import brotli

    return brotli.compress(content, quality=9 if len(content) > _QUICKER_FROM else 11)
