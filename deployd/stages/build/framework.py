"""app folder -> Detected: what the app is made with, read from package.json and configuration files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from deployd.errors import BuildError
from deployd.stages.build import catalogs, delegated, manifest, nextapp, servers, sites, startscript

if TYPE_CHECKING:
    from pathlib import Path

Framework = Literal["nextjs", "nuxt", "astro", "sveltekit", "react-router", "node", "static"]
FRAMEWORKS: tuple[Framework, ...] = ("nextjs", "nuxt", "astro", "sveltekit", "react-router", "node", "static")
# The package that gives a framework away, the framework, and its build when package.json has no script for it.
_BY_PACKAGE: tuple[tuple[str, Framework, tuple[str, ...]], ...] = (
    ("next", "nextjs", ("next", "build")),
    ("nuxt", "nuxt", ("nuxt", "build")),
    ("@sveltejs/kit", "sveltekit", ("vite", "build")),
    ("astro", "astro", ("astro", "build")),
    ("@react-router/dev", "react-router", ("react-router", "build")),
    ("@remix-run/dev", "react-router", ("remix", "vite:build")),
)
# Makers of pages, and their builds; `init` tells them by name.
_GENERATORS: dict[str, tuple[str, ...]] = {
    "@11ty/eleventy": ("eleventy",),
    "@docusaurus/core": ("docusaurus", "build"),
    "gatsby": ("gatsby", "build"),
    "vitepress": ("vitepress", "build"),
    "react-scripts": ("react-scripts", "build"),
    "@angular/core": ("ng", "build"),
    "@vue/cli-service": ("vue-cli-service", "build"),
    "parcel": ("parcel", "build"),
    "hexo": ("hexo", "generate"),
    "vite": ("vite", "build"),
}
# Builders whose output is a Nitro server (.output), which runs as any other file of Node.js.
_NITRO: dict[str, tuple[str, ...]] = {
    "@tanstack/react-start": ("vite", "build"),
    "@tanstack/solid-start": ("vite", "build"),
    "@solidjs/start": ("vinxi", "build"),
    "vinxi": ("vinxi", "build"),
    "nitropack": ("nitropack", "build"),
    "nitro": ("nitro", "build"),
}
_SERVERS: dict[str, str] = {
    "@nestjs/core": "Nest", "express": "Express", "fastify": "Fastify", "koa": "Koa", "hono": "Hono",
    "@hono/node-server": "Hono", "@hapi/hapi": "hapi", "@feathersjs/express": "Feathers", "@trpc/server": "tRPC",
    "socket.io": "Socket.IO", "ws": "ws", "h3": "h3",
    "@adonisjs/core": "AdonisJS", "polka": "Polka", "restify": "Restify",
}  # fmt: skip
_NAMES: dict[str, str] = {
    "nextjs": "Next.js", "nuxt": "Nuxt", "astro": "Astro", "sveltekit": "SvelteKit", "react-router": "React Router",
    "node": "Node.js", "static": "static files",
    "@11ty/eleventy": "Eleventy", "@docusaurus/core": "Docusaurus", "gatsby": "Gatsby", "vitepress": "VitePress",
    "react-scripts": "Create React App", "@angular/core": "Angular", "@vue/cli-service": "Vue CLI", "parcel": "Parcel",
    "hexo": "Hexo", "vite": "Vite", "@remix-run/dev": "Remix", "@tanstack/react-start": "TanStack Start",
    "@tanstack/solid-start": "TanStack Start", "@solidjs/start": "SolidStart", "vinxi": "Vinxi", "nitropack": "Nitro",
    "nitro": "Nitro",
}  # fmt: skip
_SERVER_FILES = ("server.js", "server.mjs", "server.cjs", "server.ts")
# Libraries that speak HTTP for others too: alone, without a file that is run, they make no server of an app.
_WEAK = {"ws", "h3", "socket.io", "@trpc/server", "hono"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """What an app is. `version` is the range in package.json; `name` its name there; `health` a likely probe path.

    `tool` is what people call it (Express, Vite), and `build` the words of its own build command, empty for none.
    """

    framework: Framework
    version: str | None
    name: str | None
    health: str | None
    package: dict[str, Any] = field(default_factory=dict)
    tool: str = ""
    build: tuple[str, ...] = ()


def detect(app_dir: Path, *, said: str | None = None) -> Detected:
    """Look at an app's folder; `said` is build.framework. Raises BuildError when nothing can be built there."""
    if not (app_dir / "package.json").is_file() and not (app_dir / "package.json").is_symlink():
        return _without_package(app_dir, said)
    package = delegated.read(app_dir)
    needs = manifest.needs(package)
    name = package.get("name") if isinstance(package.get("name"), str) else None
    framework, by, build = _of_needs(needs)
    if framework is None or (said and said != framework):
        framework, by, build = _of_habits(package, needs, app_dir, said=said)
    return Detected(
        framework=framework,
        version=catalogs.version(by, needs.get(by), app_dir=app_dir) if by else None,
        name=name,
        health=nextapp.health(app_dir) if framework == "nextjs" else None,
        package=package,
        tool=_NAMES.get(by or "", "") or _SERVERS.get(by or "", "") or _NAMES[framework],
        build=build,
    )


def maker(package: dict[str, Any]) -> str | None:
    """The maker of pages among an app's packages (Vite, Eleventy, ...), if there is one."""
    needs = manifest.needs(package)
    return next((name for name in _GENERATORS if name in needs), None)


def has_pages(app_dir: Path) -> bool:
    """Whether an index.html lies where a site that needs no build has it."""
    return any((app_dir / place / "index.html").is_file() for place in sites.UNBUILT)


def _of_needs(needs: dict[str, str]) -> tuple[Framework | None, str | None, tuple[str, ...]]:
    for package, framework, build in _BY_PACKAGE:
        if package in needs:
            return framework, package, build
    return None, None, ()


def _of_habits(
    package: dict[str, Any], needs: dict[str, str], app_dir: Path, *, said: str | None
) -> tuple[Framework, str | None, tuple[str, ...]]:
    """A server if a start script runs one; else pages if something makes them or they lie there."""
    by = next((framework for framework in FRAMEWORKS if framework == said), None)
    server = next((name for name in _SERVERS if name in needs), None)
    pages = maker(package)
    nitro = next((name for name in _NITRO if name in needs), None)
    if nitro and by in (None, "node"):
        return "node", nitro, _NITRO[nitro]
    if by is None:
        by = "node" if _is_server(package, app_dir, known=server, maker=pages) else "static"
        known = pages or has_pages(app_dir) or sites.served_folder(package)[0]
        if by == "static" and not (known or manifest.scripts(package).get("build")):
            raise _nothing(app_dir)
        if "workspaces" in package and not (server or pages or startscript.entry(package, app_dir)) and _inner(app_dir):
            raise _nothing(app_dir)
    if by == "static":
        return by, pages, _GENERATORS.get(pages or "", ())
    if by == "node":
        return by, server, ()
    return by, None, next((build for _, framework, build in _BY_PACKAGE if framework == by), ())


def _is_server(package: dict[str, Any], app_dir: Path, *, known: str | None, maker: str | None) -> bool:
    if startscript.entry(package, app_dir) or servers.command(package):
        return True
    has_file = any((app_dir / name).is_file() for name in _SERVER_FILES)
    strong = known if known not in _WEAK else None
    if maker:  # pages, unless a server of the app's own stands beside them
        return has_file and strong in (package.get("dependencies") or ())
    if strong or has_file:
        return True
    if has_pages(app_dir):
        return False
    main = package.get("main")
    return isinstance(main, str) and bool(main)


def _without_package(app_dir: Path, said: str | None) -> Detected:
    servers = any((app_dir / name).is_file() for name in _SERVER_FILES)
    if said == "static" or (said is None and has_pages(app_dir) and not servers):
        return Detected(framework="static", version=None, name=None, health=None, tool=_NAMES["static"])
    if servers or (said == "node" and any((app_dir / name).is_file() for name in ("index.js", "index.mjs"))):
        return Detected(framework="node", version=None, name=None, health=None, tool=_NAMES["node"])
    raise BuildError(
        f"there is no package.json in {app_dir}, no {_SERVER_FILES[0]}, and no index.html in it or in "
        f"{', '.join(sites.UNBUILT[1:])}",
        code="package-json-missing",
        fix=_inner_fix(app_dir) or "run this in the app's folder, or name the app's folder with -C",
    )


def _nothing(app_dir: Path) -> BuildError:
    return BuildError(
        f"nothing in {app_dir} says what to build or to run: package.json names no framework, server, build script or "
        f"main (scripts looked at: {', '.join(startscript.STARTS)}, build), and there is no {_SERVER_FILES[0]} and no "
        "index.html",
        code="framework-unsupported",
        fix=_inner_fix(app_dir)
        or 'set build.framework to "node" and build.entry to its file, or to "static" and build.output to its folder',
    )


def _inner_fix(app_dir: Path) -> str | None:
    inner = _inner(app_dir)
    return f"name the app's folder: {', '.join(inner)}" if inner else None


def _inner(app_dir: Path) -> list[str]:
    """Folders below that look like apps: with a framework, or with a start script."""
    found = []
    for path in sorted([*app_dir.glob("*/package.json"), *app_dir.glob("*/*/package.json")]):
        if "node_modules" in path.parts:
            continue
        try:
            package = manifest.read(path.parent)
        except BuildError:
            continue
        needs = manifest.needs(package)
        framework, _, _ = _of_needs(needs)
        if (
            framework
            or startscript.entry(package, path.parent)
            or ("vite" in needs and (path.parent / "index.html").is_file())
        ):
            found.append(path.parent.relative_to(app_dir).as_posix())
    return found
