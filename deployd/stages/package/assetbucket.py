"""Hashed assets in a bucket behind a CDN: an artifact's manifest comes in; its files are there, or nothing was changed.

A file lies at `<prefix>/<its path in addresses>`. `<prefix>/.deployd/<app>/<environment>/<release>.json` names what a
release needs and its content: from these records follow what needs not travel again, and what nobody needs any more.
So environments, apps and several deployds may share a bucket and a prefix.
"""

from __future__ import annotations

import json
import mimetypes
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
from obstore import exceptions
from obstore.store import S3Store

from deployd.domain.artifact import FileEntry
from deployd.errors import CancelledError, StorageError
from deployd.stages.package import objects

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from deployd.domain.artifact import Manifest
    from deployd.domain.ids import AppName, EnvironmentName, ReleaseId
    from deployd.domain.options import Assets
    from deployd.domain.secret import Secret

_AT_ONCE = 16
_RECORDS = ".deployd"
_NEXT = "_next/static"
_IMMUTABLE = "public, max-age=31536000, immutable"
_ENCODINGS = {".br": "br", ".gz": "gzip", ".zst": "zstd"}
# what Python's table lacks or what the machine's own files may say otherwise
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".ttf": "font/ttf",
    ".otf": "font/otf",
    ".wasm": "application/wasm",
    ".avif": "image/avif",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".txt": "text/plain; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What brought a release's assets there: `files` of them in all, of which `sent` travelled, as `bytes_sent`."""

    files: int
    sent: int
    bytes_sent: int


def assets_of(manifest: Manifest) -> dict[str, FileEntry]:
    """The hashed assets of an artifact and their compressed siblings, by the path that a browser asks for.

    Next.js's are below `_next/static`, also for an app with a basePath: that is what an address of a CDN stands before.
    """
    found: dict[str, FileEntry] = {}
    for prefix, folder in sorted(manifest.assets.items()):
        below = _NEXT if prefix.endswith(f"/{_NEXT}") else prefix.strip("/")
        for entry in manifest.files:
            if isinstance(entry, FileEntry) and entry.path.startswith(f"{folder}/"):
                found["/".join(part for part in (below, entry.path[len(folder) + 1 :]) if part)] = entry
    return found


def attributes_of(path: str, paths: Collection[str]) -> dict[str, str]:
    """The headers with which a file is given out: a compressed sibling has its original's type and says how."""
    name, dot, end = path.rpartition(".")
    encoding = _ENCODINGS.get(dot + end.lower())
    plain = name if encoding and name in paths else path
    suffix = f".{plain.rpartition('.')[2].lower()}"
    found = {
        "Content-Type": _TYPES.get(suffix) or mimetypes.guess_type(plain)[0] or "application/octet-stream",
        "Cache-Control": _IMMUTABLE,
    }
    return found | ({"Content-Encoding": encoding} if encoding and name in paths else {})


class AssetBucket:
    """The bucket of one app's options. `keys` are the access key's id and its secret; None: AWS's own variables."""

    def __init__(self, assets: Assets, *, keys: tuple[Secret, Secret] | None = None) -> None:
        self.name = f"s3://{assets.bucket}/{assets.prefix}".rstrip("/")
        config: dict[str, Any] = {
            "region": assets.region or "us-east-1",
            "virtual_hosted_style_request": assets.endpoint is None,
        }
        if assets.endpoint:
            config["endpoint"] = assets.endpoint.rstrip("/")
        if keys:
            config |= {"access_key_id": keys[0].reveal(), "secret_access_key": keys[1].reveal()}
        self._store = S3Store(
            str(assets.bucket),
            prefix=assets.prefix.strip("/") or None,
            client_options={
                "allow_http": (assets.endpoint or "").startswith("http:"),
                "connect_timeout": "5s",
                "timeout": "60s",
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
            **config,
        )

    def check(self) -> None:
        """Ask the bucket once, so that a wrong name or key is told before anything is built. Raises StorageError."""
        try:
            for _ in obstore.list(self._store, prefix=_RECORDS, chunk_size=1):
                return
        except (exceptions.BaseError, OSError) as error:
            raise self._failed("say what is in it", error) from error

    def send(
        self,
        manifest: Manifest,
        *,
        app: AppName,
        environment: EnvironmentName,
        release: ReleaseId,
        artifacts: Path,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Sent:
        """Have a release's assets there; what is there already does not travel. Safe to repeat.

        It ends soon once `stopped` says so.

        Raises StorageError, CancelledError.
        """
        wanted = assets_of(manifest)
        try:
            there = self._listed()
            known = _contents(self._records(there))
            # named before it is sent: whoever tidies up at this moment leaves these files alone
            self._write_record(app, environment, release, {path: entry.sha256 for path, entry in wanted.items()})
            missing = {
                path: entry
                for path, entry in wanted.items()
                if there.get(path) != entry.size or known.get(path) != {entry.sha256}
            }
            with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
                jobs = [
                    pool.submit(self._put, path, entry, wanted, artifacts, stopped) for path, entry in missing.items()
                ]
                try:
                    for job in jobs:
                        job.result()
                except BaseException:
                    for job in jobs:
                        job.cancel()
                    raise
        except (exceptions.BaseError, OSError) as error:
            raise self._failed("take the assets", error) from error
        return Sent(files=len(wanted), sent=len(missing), bytes_sent=sum(one.size for one in missing.values()))

    def prune(self, *, app: AppName, environment: EnvironmentName, kept: Collection[ReleaseId]) -> int:
        """Remove what only releases of this environment needed that are kept no longer; returns how many files.

        What any other record names stays, and so does what deployd did not bring. Raises StorageError.
        """
        own = f"{_RECORDS}/{app}/{environment}/"
        try:
            records = self._records(self._listed(_RECORDS))
            gone = {path for path in records if path.startswith(own) and _release_of(path) not in kept}
            if not gone:
                return 0
            needed = {path for name, record in records.items() if name not in gone for path in record}
            going = sorted({path for name in gone for path in records[name]} - needed)
            if going:
                obstore.delete(self._store, going)
            obstore.delete(self._store, sorted(gone))  # last: whoever is ended here does the same again
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise self._failed("remove old assets", error) from error
        return len(going)

    def _listed(self, below: str | None = None) -> dict[str, int]:
        return {one["path"]: one["size"] for batch in obstore.list(self._store, prefix=below) for one in batch}

    def _records(self, listed: Iterable[str]) -> dict[str, Mapping[str, str]]:
        found = [path for path in listed if path.startswith(f"{_RECORDS}/")]
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            return dict(zip(found, pool.map(self._read_record, found), strict=True))

    def _read_record(self, path: str) -> Mapping[str, str]:
        try:
            text = bytes(obstore.get(self._store, path).bytes())
        except (FileNotFoundError, exceptions.NotFoundError):
            return {}  # another environment's, which was just removed
        files = json.loads(text)["files"]
        return {str(name): str(sha256) for name, sha256 in files.items()}

    def _write_record(
        self, app: AppName, environment: EnvironmentName, release: ReleaseId, files: Mapping[str, str]
    ) -> None:
        text = json.dumps({"v": 1, "files": files}, sort_keys=True, separators=(",", ":"))
        at = f"{_RECORDS}/{app}/{environment}/{release}.json"
        obstore.put(self._store, at, text.encode(), attributes={"Content-Type": "application/json"})

    def _put(
        self,
        path: str,
        entry: FileEntry,
        wanted: Collection[str],
        artifacts: Path,
        stopped: Callable[[], bool],
    ) -> None:
        if stopped():
            raise CancelledError("the rollout was cancelled", fix="release again when you are ready")
        obstore.put(
            self._store,
            path,
            objects.path_of(artifacts, entry.sha256),
            attributes=attributes_of(path, wanted),
        )

    def _failed(self, what: str, error: Exception) -> StorageError:
        line = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        return StorageError(
            f"{self.name} did not {what}: {line}",
            code="assets-failed",
            live="unchanged",
            fix="see `assets` in deployd.toml, and its keys: docs/assets.md",
        )


def _contents(records: Mapping[str, Mapping[str, str]]) -> dict[str, set[str]]:
    """What records say is at each path; more than one content means that nobody knows."""
    known: dict[str, set[str]] = defaultdict(set)
    for record in records.values():
        for path, sha256 in record.items():
            known[path].add(sha256)
    return known


def _release_of(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".json")
