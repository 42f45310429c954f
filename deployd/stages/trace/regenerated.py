"""A distDir -> whether its server writes pages over the files of the build, as Next.js 13 and 14 do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.stages.trace import manifests

if TYPE_CHECKING:
    from pathlib import Path

_FIRST_WITH_ROUTE_CACHE = 15  # from then on new pages go to .next/server/route-cache
_ON_DEMAND = (b"revalidatePath", b"revalidateTag", b".revalidate(")
_NEVER_WRITTEN = {"/404", "/500", "/_not-found", "/favicon.ico", "/robots.txt", "/sitemap.xml"}


def in_place(dist: Path, *, major: int) -> bool:
    """Whether a page can be made anew at run time, and where the build's own stands.

    By its time (ISR), at its first request (a fallback), or because the app's code asks for it.
    """
    if not 0 < major < _FIRST_WITH_ROUTE_CACHE:
        return False
    manifest = manifests.read(dist / "prerender-manifest.json")
    routes, dynamic = manifest.get("routes") or {}, manifest.get("dynamicRoutes") or {}
    if any(route.get("initialRevalidateSeconds") for route in routes.values()):
        return True
    if any(route.get("fallback") is not False for route in dynamic.values()):
        return True
    return bool(routes.keys() - _NEVER_WRITTEN or dynamic) and _asks(dist)


def _asks(dist: Path) -> bool:
    """Whether the app's own code revalidates on demand. Any mention counts: a copy too many costs little."""
    code = [path for path in (dist / "server").rglob("*.js") if "node_modules" not in path.parts and path.is_file()]
    return any(any(word in text for word in _ON_DEMAND) for text in (path.read_bytes() for path in code))
