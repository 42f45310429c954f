"""The traces that a Next.js build wrote (`*.nft.json`) -> Traces: the files that each route and the server need."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployd.errors import PackageError
from deployd.stages.trace import manifests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVER = "next-server"  # Next.js matches route globs against this name for the server's own trace
SERVER_TRACE = "next-server.js.nft.json"
_MINIMAL_TRACE = "next-minimal-server.js.nft.json"  # made for adapters: the standalone server does not load it
_GROUP = re.compile(r"/\([^/]+\)(?=/|$)|/@[^/]+(?=/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A file that a trace names: its place below the root of tracing, and where it lies.

    `target` is the place that a link leads to, where the trace says so itself (Next.js 16).
    """

    path: str
    source: str
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One `.nft.json`. `routes` are the names that route globs are matched against, the documented one first; empty
    for what is no route (middleware, instrumentation). `outside` are files outside of the root of tracing.
    """

    name: str
    routes: tuple[str, ...]
    files: tuple[Named, ...]
    outside: tuple[str, ...] = ()


def read(dist: Path, *, root: Path) -> list[Trace]:
    """Every trace below a distDir that the server needs; not those of pages that are plain files.

    Raises PackageError when a trace cannot be read.
    """
    static = static_traces(dist)
    found = []
    for path in [*sorted(dist.glob("*.nft.json")), *sorted((dist / "server").rglob("*.nft.json"))]:
        name = path.relative_to(dist).as_posix()
        if path.name != _MINIMAL_TRACE and name not in static:
            found.append(read_one(path, name=name, root=root))
    return found


def read_one(path: Path, *, name: str, root: Path) -> Trace:
    """One trace; files are relative to the trace itself, or to one of its `additionalRoots`."""
    data = manifests.read(path)
    inside: list[Named] = []
    outside: list[str] = []
    roots = data.get("additionalRoots") or []
    try:
        bases = [(path.parent, ""), *((path.parent / one["path"], str(one["name"])) for one in roots)]
        for (base, label), part in zip(bases, [data, *roots], strict=True):
            for named in _named(part, base=base, label=label, bases=bases, root=root):
                if named.path.startswith("../"):
                    outside.append(named.source)
                else:
                    inside.append(named)
    except (KeyError, TypeError, IndexError) as error:
        raise PackageError(
            f"deployd cannot read the trace {name}: {error!r}",
            code="trace-unreadable",
            fix="report it, with the version of Next.js; until then set output: 'standalone' in next.config",
        ) from error
    return Trace(name=name, routes=_routes(name), files=tuple(inside), outside=tuple(outside))


def _named(
    part: dict[str, Any], *, base: Path, label: str, bases: list[tuple[Path, str]], root: Path
) -> Iterator[Named]:
    links = {int(link[0]): link[1:] for link in part.get("symlinks") or []}
    for number, name in enumerate(part.get("files") or []):
        path, source = _place(base, label, name, root=root)
        target = None
        if number in links:
            to, *other = links[number]
            at, at_label = (base, label) if not other or other[0] is None else bases[int(other[0]) + 1]
            target = _place(at, at_label, to, root=root)[0]
        yield Named(path=path, source=source, target=target)


def _place(base: Path, label: str, name: str, *, root: Path) -> tuple[str, str]:
    source = os.path.normpath(f"{base}/{name}")
    if label:
        return f"next_additional_roots/{label}/{name}", source
    top = f"{root}/"
    return (source[len(top) :] if source.startswith(top) else os.path.relpath(source, root)), source


def required(dist: Path) -> list[str]:
    """What required-server-files.json names, relative to the app's folder."""
    return [str(file) for file in manifests.read(dist / "required-server-files.json").get("files") or []]


def edge(dist: Path) -> tuple[set[str], list[str]]:
    """The routes that run on the edge runtime, and the files that all of them need, relative to the distDir."""
    manifest = manifests.read(dist / "server" / "middleware-manifest.json")
    functions: dict[str, Any] = manifest.get("functions") or {}
    files: list[str] = []
    for function in [*(manifest.get("middleware") or {}).values(), *functions.values()]:
        files += [str(file) for file in function.get("files") or []]
        files += [str(one["filePath"]) for kind in ("wasm", "assets") for one in function.get(kind) or []]
    return set(functions), files


def static_traces(dist: Path) -> set[str]:
    """The traces of pages that were rendered once for all, and so need no code: the standalone tree has it not.

    Nor has it that of the App Router's error page, where there is a Pages Router with one of its own.
    """
    pages = manifests.read(dist / "server" / "pages-manifest.json")
    static = {f"server/{file.removesuffix('.html')}.js.nft.json" for file in pages.values() if file.endswith(".html")}
    return static | ({"server/app/_global-error/page.js.nft.json"} if "/_app" in pages else set())


def _routes(name: str) -> tuple[str, ...]:
    """The route of a trace, as the documentation writes it and as Next.js itself matches it."""
    page = name.removesuffix(".js.nft.json")
    if name == SERVER_TRACE:
        return (SERVER,)
    if page.startswith("server/app/"):
        route = _GROUP.sub("", "/" + page.removeprefix("server/app/").rpartition("/")[0])
        return (route or "/", f"/app{route}".rstrip("/"))
    if page.startswith("server/pages/"):
        route = "/" + page.removeprefix("server/pages/")
        return ("/", route) if route == "/index" else (route.removesuffix("/index"), route)
    return ()
