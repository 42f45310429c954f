"""app folder -> Probed: which page tells of an app's health, as far as its files say; `init` writes it down."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deployd.stages.build import manifest
from deployd.stages.build.ownsources import sources

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.stages.build.framework import Detected

# A server that answers at all: nothing at `/`, or nothing without a password, is no failure of an API.
ANSWERS = (200, 204, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 426)
_NAMES = ("health", "healthz", "healthcheck", "api/health", "api/healthz", "api/healthcheck", "up")
_HEALTH = r"/(?:api/)?(?:healthz?|healthcheck|health-check|_health|livez|readyz|up|ping)"
_ON_APP = r"\b(?:app|server|fastify)\s*\.\s*(?:get|all|use|head)\(\s*[\"'`]({path})[\"'`]"
_BY_URL = r"\b(?:url|pathname|path)\s*===?\s*[\"'`]({path})[\"'`]"
_WHOLE = re.compile(r"\.listen\(|express\(\)|[Ff]astify\(|new (?:Koa|Hono|Elysia)\(|createServer\(")
_PREFIXED = re.compile(r"\bbasePath\(|setGlobalPrefix\(|\bprefix\s*:")
_NOTHING_AT_TOP = "no page for health checks was found, and none at /: any answer below 500 counts"
# Where a framework's pages lie, and the part of a file's name that makes a page of it.
_PLACES: dict[str, tuple[tuple[str, str], ...]] = {
    "nuxt": (("server/routes", ""), ("server", ""), ("pages", "")),
    "astro": (("src/pages", ""),),
    "sveltekit": (("src/routes", "/+server"), ("src/routes", "/+page")),
    "react-router": (("app/routes", ""),),
}
_BASES: dict[str, tuple[tuple[str, str], ...]] = {
    "nextjs": (("next.config.*", "basePath"),),
    "nuxt": (("nuxt.config.*", "baseURL"),),
    "astro": (("astro.config.*", "base"),),
    "sveltekit": (("svelte.config.*", "base"),),
    "react-router": (("react-router.config.*", "basename"),),
    "static": (
        ("vite.config.*", "base"), (".vitepress/config.*", "base"), ("docs/.vitepress/config.*", "base"),
        ("docusaurus.config.*", "baseUrl"),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """`path` is None for `/`, `status` for the usual ones; `why` says how it was found, or what is assumed."""

    path: str | None = None
    status: tuple[int, ...] | None = None
    why: str


def find(app_dir: Path, detected: Detected) -> Probed:
    """Guess: a page for health checks, the path below which the app stands, or `/`."""
    base = base_of(app_dir, detected.framework, detected.package)
    if detected.health:
        return Probed(path=f"{base}{detected.health}", why="it looks like a page for health checks")
    page = _page(app_dir, detected.framework)
    if page:
        return Probed(path=f"{base}/{page}", why="it looks like a page for health checks")
    if base:
        return Probed(path=base if detected.framework in {"nextjs", "sveltekit"} else f"{base}/", why="it stands there")
    if detected.framework == "nextjs" and not _has_first_page(app_dir):
        return Probed(status=ANSWERS, why=_NOTHING_AT_TOP)
    if detected.framework != "node" or detected.build:  # what a framework builds has a page at the top
        return Probed(why="no page for health checks was found")
    return _of_server(app_dir)


def _page(app_dir: Path, framework: str) -> str | None:
    for folder, ending in _PLACES.get(framework, ()):
        for name in _NAMES:
            if folder == "server" and not name.startswith("api/"):
                continue
            if next((app_dir / folder).glob(f"{name}{ending}.*"), None):
                return name
    return None


def base_of(app_dir: Path, framework: str, package: dict[str, Any]) -> str:
    """The path below which the whole app stands, as its configuration says, without a last slash; empty for `/`."""
    for pattern, key in _BASES.get(framework, ()):
        for path in sorted(app_dir.glob(pattern)):
            text = path.read_text(errors="replace") if path.is_file() else ""
            named = re.search(rf"""\b{key}\s*:\s*["'`](/[\w./-]*)["'`]""", text)
            if named:
                return named[1].rstrip("/")
    home = package.get("homepage")
    if isinstance(home, str) and "react-scripts" in manifest.needs(package):
        return urlsplit(home).path.rstrip("/") if home.startswith(("/", "http")) else ""
    return ""


def _of_server(app_dir: Path) -> Probed:
    """A plain server's own words: a route on the app itself, not one of a router that may stand anywhere."""
    at_top = False
    for path in sources(app_dir):
        text = path.read_text(errors="replace")
        if not _WHOLE.search(text) or _PREFIXED.search(text):
            continue
        for pattern in (_ON_APP, _BY_URL):
            named = re.search(pattern.replace("{path}", _HEALTH), text)
            if named:
                return Probed(path=named[1], why=f"{path.relative_to(app_dir)} answers it")
            at_top = at_top or bool(re.search(pattern.replace("{path}", "/"), text))
    if at_top:
        return Probed(why="no page for health checks was found")
    return Probed(status=ANSWERS, why=_NOTHING_AT_TOP)


def _has_first_page(app_dir: Path) -> bool:
    """Whether a Next.js app has a page at `/`, in either router; a group or a language may stand before it."""
    for top in (app_dir, app_dir / "src"):
        if any((top / "pages").glob("index.*")) or any((top / "app").glob("page.*")):
            return True
        if any((top / "app").glob("[[(]*/page.*")) or any((top / "app").glob("[[(]*/[[(]*/page.*")):
            return True
    return False
