"""Artifacts in an S3-compatible store; assetbucket.py is the other import of obstore.

`objects/ab/<sha256>` and `manifests/<name>.json` below the address, as in a state folder. Objects first, then the
manifest that names them; what comes back is hashed before it is kept.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import obstore
from obstore import exceptions
from obstore.store import S3Store

from deployd.domain.artifact import FileEntry, Manifest
from deployd.errors import NotFoundError, StorageError
from deployd.stages.package import artifacts as kept
from deployd.stages.package import objects

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from deployd.domain.artifact import Artifact
    from deployd.domain.ids import ArtifactName

_AT_ONCE = 16
_AGAIN = "remove it there, and release that commit again: deployd release COMMIT"
_FIX = "see artifact_store in the configuration, and its keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


class Depot:
    """The store at `s3://bucket/prefix`. Threads may share it."""

    def __init__(self, url: str, *, endpoint: str | None = None, region: str | None = None) -> None:
        self.url = url
        parts = urlsplit(url)
        config: dict[str, Any] = {"region": region or "us-east-1", "virtual_hosted_style_request": endpoint is None}
        if endpoint:
            config["endpoint"] = endpoint.rstrip("/")
        self._store = S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            client_options={
                "allow_http": (endpoint or "").startswith("http:"),
                "connect_timeout": "5s",
                "timeout": "120s",
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
            **config,
        )

    def keep(self, name: ArtifactName, *, artifacts: Path) -> int:
        """Have an artifact of a state folder there; returns how many objects had to travel. Raises StorageError."""
        manifest = kept.load(artifacts, name)
        at = f"manifests/{name}.json"
        try:
            if self._has(at):
                return 0
            with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
                sent = sum(pool.map(lambda sha256: self._send(sha256, artifacts), _contents(manifest)))
            obstore.put(self._store, at, json.dumps(manifest.to_json(), separators=(",", ":")).encode())
        except (exceptions.BaseError, OSError) as error:
            raise self._failed("take", name, error) from error
        return sent

    def fetch(self, name: ArtifactName, *, artifacts: Path) -> Artifact:
        """Have an artifact of there in a state folder. Raises NotFoundError, StorageError."""
        try:
            text = bytes(obstore.get(self._store, f"manifests/{name}.json").bytes())
            manifest = Manifest.from_json(json.loads(text))
            if manifest.name != name:
                raise StorageError(
                    f"{self.url} has another content under {name}",
                    code="storage-damaged",
                    fix=_AGAIN,
                )
            with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
                list(pool.map(lambda entry: self._take(entry, artifacts), _entries(manifest)))
        except (FileNotFoundError, exceptions.NotFoundError) as error:
            raise NotFoundError(
                f"artifact {name} is neither here nor whole in {self.url}",
                code="artifact-not-found",
                fix="release that commit again: deployd release COMMIT",
            ) from error
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise self._failed("give", name, error) from error
        return kept.write(manifest, artifacts=artifacts)

    def _send(self, sha256: str, artifacts: Path) -> int:
        at = f"objects/{sha256[:2]}/{sha256}"
        if self._has(at):
            return 0
        obstore.put(self._store, at, objects.path_of(artifacts, sha256))
        return 1

    def _take(self, entry: FileEntry, artifacts: Path) -> None:
        if objects.has(artifacts, entry.sha256, size=entry.size):
            return
        at = f"objects/{entry.sha256[:2]}/{entry.sha256}"
        content = bytes(obstore.get(self._store, at).bytes())
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise StorageError(f"{self.url} has another content at {at}", code="storage-damaged", fix=_AGAIN)
        objects.store_bytes(content, sha256=entry.sha256, artifacts=artifacts)

    def _has(self, at: str) -> bool:
        try:
            obstore.head(self._store, at)
        except (FileNotFoundError, exceptions.NotFoundError):
            return False
        return True

    def _failed(self, verb: str, name: ArtifactName, error: Exception) -> StorageError:
        line = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        return StorageError(f"{self.url} did not {verb} artifact {name}: {line}", code="storage-failed", fix=_FIX)


def _entries(manifest: Manifest) -> Iterable[FileEntry]:
    return {one.sha256: one for one in manifest.files if isinstance(one, FileEntry)}.values()


def _contents(manifest: Manifest) -> Iterable[str]:
    return [one.sha256 for one in _entries(manifest)]
