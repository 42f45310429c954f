"""Artifact <-> one file: a deterministic tar.gz of a manifest and its objects, checked by hash when it is read."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import zlib
from dataclasses import asdict
from typing import IO, TYPE_CHECKING

from deployd.domain.artifact import Artifact, FileEntry, Making, Manifest
from deployd.domain.ids import BuildId
from deployd.errors import PackageError
from deployd.stages.package import artifacts as store
from deployd.stages.package import layout, objects

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deployd.domain.ids import ArtifactName

_OBJECT = re.compile(r"objects/([0-9a-f]{64})")
_MAKING = {
    "build_id": BuildId.pattern,
    "framework": re.compile(r"[a-z-]{1,30}"),
    "node": re.compile(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}"),
    "lockfile_sha256": re.compile(r"[0-9a-f]{64}"),
}


def export(artifacts: Path, name: ArtifactName, *, to: Path, making: Making | None = None) -> int:
    """Write an artifact, and how it was made, as one file; equal ones give equal files. Returns its size in bytes."""
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
        if making is not None:
            text = json.dumps(asdict(making), sort_keys=True, separators=(",", ":")).encode()
            archive.addfile(_member("making.json", len(text)), io.BytesIO(text))
        for sha256 in hashes:
            with objects.path_of(artifacts, sha256).open("rb") as opened:
                size = opened.seek(0, io.SEEK_END)
                opened.seek(0)
                archive.addfile(_member(f"objects/{sha256}", size), opened)
    aside.rename(to)
    return to.stat().st_size


def import_(file: Path, *, artifacts: Path) -> tuple[Artifact, Making]:
    """Take an exported artifact in: a manifest, and objects named by their hash. Raises PackageError."""
    making = Making()
    try:
        with tarfile.open(file, "r:*") as archive:
            manifest: Manifest | None = None
            for member in archive:
                opened = archive.extractfile(member) if member.isreg() else None
                match = _OBJECT.fullmatch(member.name)
                if opened and member.name == "manifest.json":
                    manifest = Manifest.from_json(json.loads(opened.read()))
                elif opened and member.name == "making.json":
                    making = _making(json.loads(opened.read()))
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
    return store.write(manifest, artifacts=artifacts), making


def _making(data: Mapping[str, object]) -> Making:
    """What the file says, as far as it has the form that each field must have: it may come from anywhere."""
    found = {name: data.get(name) for name in _MAKING}
    fitting = {
        name: value for name, value in found.items() if isinstance(value, str) and _MAKING[name].fullmatch(value)
    }
    return Making(**fitting)


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
