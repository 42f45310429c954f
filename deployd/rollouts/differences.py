"""Two releases -> what differs between them: facts, files, packages, and routes by the traces that travel with them."""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deployd.domain.artifact import FileEntry, path_to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from deployd.domain.artifact import LinkEntry, Manifest
    from deployd.domain.release import Release

    Read = Callable[[FileEntry], bytes]
    Content = tuple[object, ...]

_PACKAGE = re.compile(r"(?:.*/)?node_modules/(@[^/]+/[^/]+|[^@./][^/]*)/", re.DOTALL)
_PAGE = re.compile(
    r"(?P<dist>(?:.*/)?)server/(?P<router>app|pages)/(?P<page>.+?)(?P<kind>\.js\.nft\.json|\.[a-z.]+)", re.DOTALL
)
_RENDERED = (".html", ".rsc", ".json", ".body", ".meta", ".segment.rsc")
# What Turbopack writes beside a page's code, into a folder of its name.
_OF_PAGE = re.compile(
    r"(.+)/(?:(?:client-|app-)?build|app-paths|react-loadable|server-reference|next-font|pages|images|dynamic-css)-manifest"
)
_GROUP = re.compile(r"/\([^/]+\)(?=/|$)|/@[^/]+(?=/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a package or a route changed: numbers of its files, and its bytes before and after."""

    added: int
    removed: int
    changed: int
    before: int
    after: int

    @property
    def kind(self) -> str:
        """`added` or `removed` when one side has nothing of it, else `changed`."""
        if not self.before and not self.changed and not self.removed:
            return "added"
        return "removed" if not self.after and not self.changed and not self.added else "changed"


def between(old: Release, new: Release, *, artifacts: Path) -> dict[str, Any]:
    """What `deployd diff --json` says of two releases. Raises NotFoundError when an artifact is not kept any more."""
    from deployd.stages.package import load

    def read(entry: FileEntry) -> bytes:
        try:
            return (artifacts / "objects" / entry.sha256[:2] / entry.sha256).read_bytes()
        except OSError:
            return b""  # collected since: the route is compared by its own files

    one, two = load(artifacts, old.artifact), load(artifacts, new.artifact)
    told = {
        title: {name: asdict(change) | {"kind": change.kind} for name, change in found.items()}
        for title, found in (("routes", by_route(one, two, read=read)), ("packages", by_package(one, two)))
    }
    return {
        "before": old.id,
        "after": new.id,
        "changed": {
            name: [getattr(old, name), getattr(new, name)]
            for name in ("commit", "branch", "runtime", "artifact")
            if getattr(old, name) != getattr(new, name)
        },
        "files": {kind: [path_to_json(path) for path in paths] for kind, paths in compare(one, two).items()},
        **told,
        "sizes": [one.size, two.size],
    }


def compare(old: Manifest, new: Manifest) -> dict[str, list[str]]:
    """Paths that were added, removed or changed, sorted."""
    one, two = ({entry.path: content(entry) for entry in manifest.files} for manifest in (old, new))
    return {
        "added": sorted(two.keys() - one.keys()),
        "removed": sorted(one.keys() - two.keys()),
        "changed": sorted(path for path in one.keys() & two.keys() if one[path] != two[path]),
    }


def package_of(path: str) -> str | None:
    """The package that a path lies in: the innermost folder of node_modules, so pnpm's store counts too."""
    match = _PACKAGE.match(path)
    return match[1] if match else None


def by_package(old: Manifest, new: Manifest) -> dict[str, Change]:
    """The packages of node_modules whose files differ."""
    return _differing(_packages(old), _packages(new))


def by_route(old: Manifest, new: Manifest, *, read: Read) -> dict[str, Change]:
    """The routes of a Next.js app, or pages of a site, that differ. `read` gives the bytes of a file of either."""
    return _differing(_routes(old, read=read), _routes(new, read=read))


def content(entry: FileEntry | LinkEntry) -> Content:
    """What a file or link is, to be compared."""
    return (entry.sha256, entry.mode) if isinstance(entry, FileEntry) else ("link", entry.target)


def _differing(
    old: Mapping[str, Mapping[str, FileEntry | LinkEntry]], new: Mapping[str, Mapping[str, FileEntry | LinkEntry]]
) -> dict[str, Change]:
    found = {}
    for name in sorted(old.keys() | new.keys()):
        one, two = old.get(name, {}), new.get(name, {})
        changed = sum(1 for path in one.keys() & two.keys() if content(one[path]) != content(two[path]))
        change = Change(
            added=len(two.keys() - one.keys()),
            removed=len(one.keys() - two.keys()),
            changed=changed,
            before=_size(one.values()),
            after=_size(two.values()),
        )
        if change.added or change.removed or change.changed:
            found[name] = change
    return found


def _size(entries: Iterable[FileEntry | LinkEntry]) -> int:
    return sum(entry.size for entry in entries if isinstance(entry, FileEntry))


def _packages(manifest: Manifest) -> dict[str, dict[str, FileEntry | LinkEntry]]:
    found: dict[str, dict[str, FileEntry | LinkEntry]] = {}
    for entry in manifest.files:
        name = package_of(entry.path)
        if name is not None:
            found.setdefault(name, {})[entry.path] = entry
    return found


def _routes(manifest: Manifest, *, read: Read) -> dict[str, dict[str, FileEntry | LinkEntry]]:
    """Each route with its own files, and those that its trace names; a package's files count in every route of its."""
    entries = {entry.path: entry for entry in manifest.files}
    found: dict[str, dict[str, FileEntry | LinkEntry]] = {}
    if manifest.static:
        return _pages(entries, folder=manifest.static.folder)
    for path, entry in entries.items():
        match = _PAGE.fullmatch(path)
        if match is None or not isinstance(entry, FileEntry):
            continue
        if match["kind"] == ".js.nft.json":
            named = _named(read(entry), at=posixpath.dirname(path))
            route = _route(match["router"], match["page"], is_code=True)
            found.setdefault(route, {}).update({name: entries[name] for name in named if name in entries})
        elif match["kind"].endswith((".js", *_RENDERED)):
            beside = _OF_PAGE.fullmatch(match["page"])
            is_code = bool(beside) or match["kind"] == ".js"
            route = _route(match["router"], beside[1] if beside else match["page"], is_code=is_code)
            found.setdefault(route, {})[path] = entry
    return found


def _pages(entries: Mapping[str, FileEntry | LinkEntry], *, folder: str) -> dict[str, dict[str, FileEntry | LinkEntry]]:
    """Each page of a site, by its address without ending."""
    start = f"{folder}/" if folder not in ("", ".") else ""
    return {
        f"/{path.removeprefix(start).removesuffix('.html')}".removesuffix("/index") or "/": {path: entry}
        for path, entry in entries.items()
        if path.endswith(".html") and path.startswith(start)
    }


def _named(data: bytes, *, at: str) -> list[str]:
    try:
        trace: dict[str, Any] = json.loads(data)
        return [posixpath.normpath(f"{at}/{name}") for name in trace.get("files") or []]
    except (ValueError, AttributeError):
        return []


def _route(router: str, page: str, *, is_code: bool) -> str:
    if router == "app":
        # code lies in `about/page.js`, what was rendered of it in `about.html`
        inner = page.rpartition("/")[0] if is_code else page
        return _GROUP.sub("", f"/{inner}").removesuffix("/index").rstrip("/") or "/"
    return f"/{page}".removesuffix("/index") or "/"
