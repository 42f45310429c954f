"""Manifest -> nothing, or a PackageError: no path leaves the artifact, no file lies below a link, every hash is one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deployd.domain.artifact import FileEntry, LinkEntry
from deployd.errors import PackageError

if TYPE_CHECKING:
    from deployd.domain.artifact import Manifest, StaticSite

SHIM = ".deployd/listen.cjs"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WRITABLE_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_URL_PREFIX = re.compile(r"/(?:[A-Za-z0-9._~@-]+(?:/[A-Za-z0-9._~@-]+)*)?")


def check(manifest: Manifest) -> None:
    """Raise PackageError that names what is wrong; the host checks the same again before it makes anything."""
    files = {entry.path for entry in manifest.files if isinstance(entry, FileEntry)}
    links = {entry.path for entry in manifest.files if isinstance(entry, LinkEntry)}
    folders: set[str] = set()
    for entry in manifest.files:
        _require(_is_inside(entry.path), entry.path, "is no place in an artifact")
        _require(entry.path == SHIM or not entry.path.startswith(".deployd/"), entry.path, "is deployd's own place")
        folders.update(_above(entry.path))
        if isinstance(entry, FileEntry):
            _require(_SHA256.fullmatch(entry.sha256) is not None, entry.path, "has no SHA-256")
            _require(entry.mode in (0o644, 0o755), entry.path, "has a mode that is neither 644 nor 755")
            _require(entry.size >= 0, entry.path, "has a size below zero")
        else:
            _require(_stays(entry), entry.path, f"is a link to {entry.target!r}, which lies outside of the artifact")
    _require(len(files | links) == len(manifest.files), manifest.entry, "or another path stands there twice")
    for path in sorted((files | links) & folders):
        _require(False, path, "is a file or a link, and a folder")
    if manifest.static is None:
        _require(manifest.entry in files, manifest.entry, "is what Node.js runs, and is not there")
    else:
        _check_site(manifest, manifest.static, files=files, folders=folders)
    for name, path in manifest.writable.items():
        _require(_is_inside(path) and _WRITABLE_NAME.fullmatch(name) is not None, path, "is no writable place")
        _require(path not in files | links | folders, path, "is to be writable, and is there already")
    for path in manifest.seeded.values():
        _require(path in folders, path, "is to have a writable copy, and is no folder")
    for prefix, path in (*manifest.assets.items(), *manifest.public.items()):
        _require(path in folders, path, "is to be served, and is no folder")
        _require(_URL_PREFIX.fullmatch(prefix) is not None and ".." not in prefix, prefix, "is no URL path")


def _check_site(manifest: Manifest, site: StaticSite, *, files: set[str], folders: set[str]) -> None:
    _require(site.folder in folders, site.folder, "is the folder of the site, and is no folder")
    for page in (site.not_found, site.fallback):
        _require(
            page is None or f"{site.folder}/{page}" in files, page or "", "is a page of the site, and is not there"
        )
    nothing = not (manifest.entry or manifest.writable or manifest.seeded)
    _require(nothing, manifest.entry, "is to run, or something is to be written, in a site without a process")


def _require(holds: bool, path: str, why: str) -> None:  # noqa: FBT001 - a condition, as in assert
    if not holds:
        raise PackageError(
            f"{path!r} {why}",
            code="artifact-invalid",
            fix="rename it in the app, or make the artifact again with this version of deployd",
        )


def _is_inside(path: str) -> bool:
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def _stays(link: LinkEntry) -> bool:
    depth = link.path.count("/")
    for part in link.target.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            return False
    return bool(link.target) and not link.target.startswith("/") and "\0" not in link.target
