"""Artifact <-> one file: a deterministic tar.gz of a manifest and its objects, checked by hash when it is read."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import zlib
from typing import IO, TYPE_CHECKING

from deployd.domain.artifact import Artifact, FileEntry, Manifest
from deployd.errors import PackageError
from deployd.stages.package import artifacts as store
from deployd.stages.package import layout, objects

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.domain.ids import ArtifactName

_OBJECT = re.compile(r"objects/([0-9a-f]{64})")


def export(artifacts: Path, name: ArtifactName, *, to: Path) -> int:
    """Write an artifact as one file; equal artifacts give equal files. Returns its size in bytes."""
    manifest = store.load(artifacts, name)
    hashes = sorted({entry.sha256 for entry in manifest.files if isinstance(entry, FileEntry)})
    aside = to.with_name(f".{to.name}.part")
    with (
        aside.open("wb") as out,
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6, mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        text = json.dumps(manifest.to_json(), separators=(",", ":")).encode()
        archive.addfile(_member("manifest.json", len(text)), io.BytesIO(text))
        for sha256 in hashes:
            with objects.path_of(artifacts, sha256).open("rb") as opened:
                size = opened.seek(0, io.SEEK_END)
                opened.seek(0)
                archive.addfile(_member(f"objects/{sha256}", size), opened)
    aside.rename(to)
    return to.stat().st_size


def import_(file: Path, *, artifacts: Path) -> Artifact:
    """Take an exported artifact in: a manifest, and objects named by their hash. Raises PackageError."""
    try:
        with tarfile.open(file, "r:*") as archive:
            manifest: Manifest | None = None
            for member in archive:
                opened = archive.extractfile(member) if member.isreg() else None
                match = _OBJECT.fullmatch(member.name)
                if opened and member.name == "manifest.json":
                    manifest = Manifest.from_json(json.loads(opened.read()))
                elif opened and match:
                    _take(opened, sha256=match[1], file=file, artifacts=artifacts)
                else:
                    raise _invalid(file, f"it holds {member.name!r}")
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _invalid(file, f"it could not be read ({error})") from error
    if manifest is None:
        raise _invalid(file, "it holds no manifest")
    layout.check(manifest)
    for entry in manifest.files:
        if isinstance(entry, FileEntry) and not objects.path_of(artifacts, entry.sha256).exists():
            raise _invalid(file, f"the content of {entry.path!r} is missing")
    return store.write(manifest, artifacts=artifacts)


def _take(opened: IO[bytes], *, sha256: str, file: Path, artifacts: Path) -> None:
    if objects.path_of(artifacts, sha256).exists():
        return
    try:
        objects.store_stream(opened, sha256=sha256, artifacts=artifacts)
    except PackageError as error:
        raise _invalid(file, f"the content of object {sha256[:12]} is another") from error


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def _invalid(file: Path, why: str) -> PackageError:
    return PackageError(
        f"{file.name} is no artifact of deployd: {why}",
        code="artifact-invalid",
        fix="make one with `deployd package -o FILE`",
    )
