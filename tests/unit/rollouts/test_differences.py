"""What differs between two artifacts, by package and by route."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from deployd.domain.artifact import FileEntry, LinkEntry, Manifest, StaticSite
from deployd.rollouts.differences import by_package, by_route


class Stored:
    """Manifests of texts, and the texts by their hash."""

    def __init__(self) -> None:
        self._texts: dict[str, bytes] = {}

    def manifest(self, texts: dict[str, str], *, links: dict[str, str] | None = None) -> Manifest:
        entries: list[FileEntry | LinkEntry] = []
        for path, text in texts.items():
            data = text.encode()
            sha256 = hashlib.sha256(data).hexdigest()
            self._texts[sha256] = data
            entries.append(FileEntry(path=path, mode=0o644, size=len(data), sha256=sha256))
        entries += [LinkEntry(path=path, target=target) for path, target in (links or {}).items()]
        return Manifest(entry="server.js", files=tuple(sorted(entries, key=lambda entry: entry.path)))

    def read(self, entry: FileEntry) -> bytes:
        return self._texts[entry.sha256]


def trace(*names: str) -> str:
    return json.dumps({"version": 1, "files": list(names)})


ABOUT = "apps/web/.next/server/app/(site)/about/page.js"
BASE = {
    ABOUT: "about",
    f"{ABOUT}.nft.json": trace("../../../chunks/1.js", "../../../../../../../node_modules/pino/pino.js", "gone.js"),
    "apps/web/.next/server/app/about.html": "<p>about",
    "apps/web/.next/server/app/about.rsc": "about",
    "apps/web/.next/server/app/index.html": "<p>home",
    "apps/web/.next/server/pages/api/old.js": "old",
    "apps/web/.next/server/pages/api/old.js.nft.json": trace("../../chunks/2.js"),
    "apps/web/.next/server/pages/index.html": "<p>old home",
    "apps/web/.next/server/chunks/1.js": "one",
    "apps/web/.next/server/chunks/2.js": "two",
    "node_modules/pino/pino.js": "pino",
    "node_modules/.pnpm/@img+x@1/node_modules/@img/x/lib.node": "native",
    "server.js": "server",
}


def test_the_same_twice_differs_in_nothing() -> None:
    stored = Stored()
    assert by_route(stored.manifest(BASE), stored.manifest(BASE), read=stored.read) == {}
    assert by_package(stored.manifest(BASE), stored.manifest(BASE)) == {}


def test_a_route_changes_with_what_its_trace_names() -> None:
    stored = Stored()
    old = stored.manifest(BASE)
    changed = by_route(old, stored.manifest(BASE | {"apps/web/.next/server/chunks/1.js": "uno"}), read=stored.read)
    assert list(changed) == ["/about"]
    assert (changed["/about"].kind, changed["/about"].changed) == ("changed", 1)
    changed = by_route(old, stored.manifest(BASE | {"node_modules/pino/pino.js": "other"}), read=stored.read)
    assert list(changed) == ["/about"]
    changed = by_route(old, stored.manifest(BASE | {"apps/web/.next/server/app/index.html": "x"}), read=stored.read)
    assert list(changed) == ["/"]
    changed = by_route(old, stored.manifest(BASE | {"server.js": "x"}), read=stored.read)
    assert changed == {}


def test_routes_that_come_and_go() -> None:
    stored = Stored()
    less = {path: text for path, text in BASE.items() if "/old" not in path}
    gone = by_route(stored.manifest(BASE), stored.manifest(less), read=stored.read)
    assert {name: change.kind for name, change in gone.items()} == {"/api/old": "removed"}
    come = by_route(stored.manifest(less), stored.manifest(BASE), read=stored.read)
    assert {name: change.kind for name, change in come.items()} == {"/api/old": "added"}
    assert (come["/api/old"].before, come["/api/old"].added) == (0, 2)


def test_what_turbopack_writes_beside_a_page_is_that_pages() -> None:
    stored = Stored()
    beside = {
        ".next/server/pages/p/build-manifest.json": "1",
        ".next/server/pages/index/client-build-manifest.json": "1",
        ".next/server/app/about/page/react-loadable-manifest.json": "1",
        ".next/server/app/page/app-paths-manifest.json": "1",
    }
    changed = by_route(stored.manifest({}), stored.manifest(beside), read=stored.read)
    assert set(changed) == {"/p", "/", "/about"}


def test_packages_by_their_innermost_folder() -> None:
    stored = Stored()
    new = {path: text for path, text in BASE.items() if "pino.js" not in path} | {
        "node_modules/.pnpm/@img+x@1/node_modules/@img/x/lib.node": "natives",
        "node_modules/sharp/index.js": "sharp",
    }
    changed = by_package(stored.manifest(BASE), stored.manifest(new, links={"node_modules/@img/x": "../.pnpm/x"}))
    assert {name: (change.kind, change.before, change.after) for name, change in changed.items()} == {
        "@img/x": ("changed", 6, 7),
        "pino": ("removed", 4, 0),
        "sharp": ("added", 0, 5),
    }


def test_a_trace_that_cannot_be_read_leaves_the_routes_own_files() -> None:
    stored = Stored()
    broken = BASE | {f"{ABOUT}.nft.json": "{"}
    changed = by_route(stored.manifest(broken), stored.manifest(broken | {ABOUT: "new"}), read=stored.read)
    assert changed["/about"].changed == 1


def test_the_pages_of_a_site_are_its_routes() -> None:
    stored = Stored()
    site = StaticSite(folder="site", trailing_slash=False, not_found="docs/404.html", fallback=None)
    texts = {"site/docs/index.html": "home", "site/docs/p/a b.html": "p", "site/docs/404.html": "?", "site/x.png": "x"}
    old = replace(stored.manifest(texts), entry="", static=site)
    now = texts | {"site/docs/index.html": "new", "site/index.html": "top", "site/x.png": "y"}
    del now["site/docs/p/a b.html"]
    new = replace(stored.manifest(now), entry="", static=site)
    found = {name: change.kind for name, change in by_route(old, new, read=stored.read).items()}
    assert found == {"/": "added", "/docs": "changed", "/docs/p/a b": "removed"}
