"""A finished build of a Node.js server -> the file that Node.js runs, and what travels beside what it imports."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deployd.errors import BuildError
from deployd.stages.build import delegated, manifest, probing, sites, starting, startscript, wrapper
from deployd.stages.build.left import Left, missing, read_json
from deployd.stages.build.starting import read_by_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deployd.domain.stages import BuildPlan

_USUAL = (
    "dist/main.js", "dist/server.js", "dist/index.js", "dist/app.js", "dist/src/main.js", "dist/src/index.js",
    "build/server.js", "build/index.js", "server.js", "index.js", "app.js", "main.js",
    "server.mjs", "index.mjs", "server.cjs", "index.cjs", "src/server.js", "src/index.js", "src/app.js",
    ".output/server/index.mjs", "dist/server/index.js", "dist/index.mjs", "dist/index.cjs", "dist/server.mjs",
    "dist/main.mjs", "server.ts", "index.ts", "src/server.ts", "src/index.ts", "src/main.ts", "bin/www",
)  # fmt: skip
# What builds write to; of these, pages and client files that a server outside of them serves.
_MADE = ("dist", "build", "out", "lib", "output", ".output")
_SERVED = ("dist", "build", "out")
_PROXIED = {"PROTOCOL_HEADER": "x-forwarded-proto", "HOST_HEADER": "x-forwarded-host"}
# Servers that are a command with the app's file as its word: command -> package, and the word when there is none.
_COMMANDS: dict[str, tuple[str, str | None]] = {
    "react-router-serve": ("@react-router/serve", "build/server/index.js"),
    "remix-serve": ("@remix-run/serve", "build/server/index.js"),
    "fastify": ("fastify-cli", None),
    "functions-framework": ("@google-cloud/functions-framework", None),
    "json-server": ("json-server", None),
    "strapi": ("@strapi/strapi", None),
    "directus": ("directus", None),
    "medusa": ("@medusajs/cli", None),
    "keystone": ("@keystone-6/core", None),
    "probot": ("probot", None),
    "moleculer-runner": ("moleculer", None),
    "node-red": ("node-red", None),
}
# These load what they find in the app's folder and among its packages: no tracing sees that, and all of it travels.
_READS_ALL = _COMMANDS.keys() - {"react-router-serve", "remix-serve", "fastify"}


def node(plan: BuildPlan, *, app_dir: Path, root: Path, log: Path) -> Left:
    """A plain server: the entry that deployd.toml, the start script, `main` or habit names."""
    package = _package(app_dir)
    entry = plan.entry
    if entry is None:
        wrapped = _as_command(package, app_dir=app_dir, root=root)
        if wrapped:
            found = _left(plan, app_dir, wrapped)
            reads_all = (command(package) or "").split(" ")[0] in _READS_ALL
            return replace(found, include=(".", "node_modules")) if reads_all else found
        entry = _made(startscript.entry(package, app_dir), app_dir)
    main = package.get("main")
    if entry is None and isinstance(main, str) and main:
        named = startscript.resolve(main, app_dir)
        entry = named if (app_dir / named).is_file() else None
    if entry is None:
        entry = next((name for name in _USUAL if (app_dir / name).is_file()), None)
    if entry is None or not (app_dir / entry).is_file():
        raise missing(
            f"there is no {entry} that Node.js could run" if entry else "nothing says which file Node.js is to run",
            looked_at=("scripts.start", "scripts.start:prod", "main", *_USUAL[:3], "server.js", "index.js"),
            key="build.entry",
            log=log,
        )
    entries, warnings = starting.entries(package, entry, app_dir=app_dir)
    return _left(plan, app_dir, entries, warnings=warnings)


def _made(entry: str | None, app_dir: Path) -> str | None:
    """A start script's file; below what the build wrote where the script is meant for that folder (AdonisJS)."""
    if entry is None or (app_dir / entry).is_file():
        return entry
    return next((f"{top}/{entry}" for top in ("build", "dist") if (app_dir / top / entry).is_file()), entry)


def command(package: dict[str, Any]) -> str | None:
    """The package's command that is an app's server, as its start script has it: `fastify start dist/app.js`."""
    found = ((name, startscript.command(package, name)) for name in _COMMANDS)
    return next((" ".join([name, *words]) for name, words in found if words and _starts(name, words)), None)


def nuxt(plan: BuildPlan, *, app_dir: Path, root: Path, log: Path) -> Left:
    """Nitro's output: a server with all that it needs, or generated pages."""
    del root
    folder = plan.output or ".output"
    preset = str(read_json(app_dir / folder / "nitro.json").get("preset") or "")
    entry = plan.entry or f"{folder}/server/index.mjs"
    if (app_dir / entry).is_file() and preset.removesuffix("-legacy").replace("_", "-") in {
        "", "node-server", "node", "node-cluster", "node-middleware",
    }:  # fmt: skip
        return Left(
            kind="node", folder=folder, entries=(entry,), assets=_there(app_dir, {"/_nuxt": f"{folder}/public/_nuxt"})
        )
    pages = f"{folder}/public"
    if not (app_dir / entry).is_file() and (app_dir / pages / "index.html").is_file():
        return sites.left(app_dir, pages, trailing_slash=False)
    if preset:
        raise _adapter(f"Nuxt was built for {preset}", "set the preset to node-server (nitro.preset in nuxt.config)")
    raise missing("the build ended well, but left no server", looked_at=(entry, pages), key="build.output", log=log)


def astro(plan: BuildPlan, *, app_dir: Path, root: Path, log: Path) -> Left:
    """The Node.js adapter's server, or pages."""
    del root
    config = _text(app_dir, "astro.config.*")
    folder = plan.output or _said(config, "outDir") or "dist"
    made = f"{folder}/server/entry.mjs"
    own = _own(plan, app_dir, made=made, folder=folder) if (app_dir / made).is_file() else None
    if own:
        return own
    entry = plan.entry or made
    if (app_dir / entry).is_file():
        if re.search(r"""mode\s*:\s*["']middleware["']""", config) and plan.entry is None:
            raise _adapter(
                "Astro's Node.js adapter is in the mode `middleware`, which is no server by itself",
                'set its mode to "standalone"; or let scripts.start (or build.entry) name your own server, a file that '
                f"imports {made}",
            )
        return Left(
            kind="node", folder=folder, entries=(entry,), assets=_there(app_dir, {"/_astro": f"{folder}/client/_astro"})
        )
    if (app_dir / folder / "index.html").is_file() or any((app_dir / folder).glob("*.html")):
        slash = _said(config, "trailingSlash")
        base = probing.base_of(app_dir, "astro", {})
        return sites.left(app_dir, folder, trailing_slash={"always": True, "never": False}.get(slash or ""), base=base)
    other = next((name for name in (".vercel", ".netlify", "dist/_worker.js") if (app_dir / name).exists()), None)
    if other:
        raise _adapter(
            f"Astro was built for another platform ({other})", "use the adapter @astrojs/node with mode: 'standalone'"
        )
    raise missing(
        "the build ended well, but left no pages and no server", looked_at=(folder, entry), key="build.output", log=log
    )


def sveltekit(plan: BuildPlan, *, app_dir: Path, root: Path, log: Path) -> Left:
    """adapter-node's server or adapter-static's pages."""
    del root, log
    config = _text(app_dir, "svelte.config.*")
    folder = plan.output or _said(config, "out") or _said(config, "pages") or "build"
    made = f"{folder}/index.js"
    place = {"/_app/immutable": f"{folder}/client/_app/immutable"}
    if (app_dir / folder / "handler.js").is_file() or plan.entry:
        own = _own(plan, app_dir, made=made, folder=folder)
        if own:
            return replace(own, assets=_there(app_dir, place))
    if (app_dir / folder / "handler.js").is_file() and (app_dir / made).is_file():
        # it takes every request for one by https otherwise, and refuses forms that were sent by http
        entry = wrapper.write(app_dir, made, variables=_PROXIED)
        return Left(kind="node", folder=folder, entries=(entry, made), assets=_there(app_dir, place))
    if any((app_dir / folder).glob("*.html")):
        one_page = not (app_dir / folder / "404.html").is_file() and "fallback" in config
        return sites.left(app_dir, folder, one_page=one_page)
    raise _adapter(
        f"SvelteKit left neither a server ({made}) nor pages ({folder}/*.html)",
        "set `adapter` in svelte.config.js to @sveltejs/adapter-node (or adapter-static), or name it with build.output",
    )


def react_router(plan: BuildPlan, *, app_dir: Path, root: Path, log: Path) -> Left:
    """React Router's or Remix's server build behind its own server, the app's own server, or a one-page app."""
    package = manifest.read(app_dir)
    config = _text(app_dir, "react-router.config.*") + _text(app_dir, "vite.config.*")
    folder = plan.output or _said(config, "buildDirectory") or "build"
    server = f"{folder}/server/index.js"
    own = _own(plan, app_dir, made=server, folder=folder)
    if own:
        return own
    if (app_dir / server).is_file():
        wrapped = _as_command(package, app_dir=app_dir, root=root, word=server)
        if wrapped:
            hashed = {} if (app_dir / "public" / "assets").exists() else {"/assets": f"{folder}/client/assets"}
            return Left(kind="node", folder=folder, entries=wrapped, assets=_there(app_dir, hashed))
        raise missing(
            "nothing says how the server build is served",
            looked_at=("scripts.start", "@react-router/serve", "@remix-run/serve"),
            key="build.entry",
            log=log,
        )
    pages = f"{folder}/client"
    if any((app_dir / pages).glob("*.html")):
        return sites.left(app_dir, pages, one_page=True)
    raise missing(
        "the build ended well, but left no server and no pages", looked_at=(server, pages), key="build.output", log=log
    )


def _package(app_dir: Path) -> dict[str, Any]:
    return delegated.read(app_dir) if (app_dir / "package.json").is_file() else {}


def _left(plan: BuildPlan, app_dir: Path, entries: tuple[str, ...], *, warnings: tuple[str, ...] = ()) -> Left:
    base = starting.base_of(app_dir, entries[-1])
    inner = entries[-1].removeprefix(base)
    top = base + inner.partition("/")[0] if "/" in inner else ""
    places = [f"{at}{name}" for at in dict.fromkeys(("", base)) for name in _MADE]
    made = tuple(name for name in places if plan.command and (app_dir / name).is_dir())
    folder = plan.output or (top if top in made else "")
    # what the build made travels whole: a server gives it to browsers, by a name that no import tells
    include = (
        *read_by_name(app_dir, entries[-1]),
        *(name for name in made if name != folder and name.removeprefix(base) in _SERVED),
    )
    return Left(kind="node", folder=folder, entries=entries, include=include, warnings=warnings)


def _own(plan: BuildPlan, app_dir: Path, *, made: str, folder: str) -> Left | None:
    """A server of the app's own around what its framework made: deployd.toml or the start script names it."""
    package = _package(app_dir)
    entry = plan.entry or startscript.entry(package, app_dir)
    if not entry or entry == made or not (app_dir / entry).is_file():
        return None
    entries, warnings = starting.entries(package, entry, app_dir=app_dir)
    return Left(kind="node", folder=folder, entries=entries, include=read_by_name(app_dir, entry), warnings=warnings)


def _as_command(
    package: dict[str, Any], *, app_dir: Path, root: Path, word: str | None = None
) -> tuple[str, ...] | None:
    """A server that is a package's command: a wrapper with the start script's words, the command, the app's file."""
    for name, (of, usual) in _COMMANDS.items():
        words = startscript.command(package, name)
        if words is None and (word is None or of not in manifest.needs(package)):
            continue
        if words is not None and not _starts(name, words):
            continue
        installed = _installed(app_dir, root, of)
        program = installed and _program(installed, name)
        if not installed or not program:
            continue
        said = list(words or ()) or [word or usual or ""]
        file = next((part.removeprefix("./") for part in reversed(said) if (app_dir / part).is_file()), None)
        start = os.path.relpath(installed / program, app_dir)
        return (wrapper.write(app_dir, start, words=said), start, *([file] if file else []))
    return None


def _starts(name: str, words: tuple[str, ...]) -> bool:
    return name != "fastify" or words[:1] == ("start",)


def _installed(app_dir: Path, root: Path, package: str) -> Path | None:
    for folder in (app_dir, *app_dir.parents):
        if (folder / "node_modules" / package / "package.json").is_file():
            return folder / "node_modules" / package
        if folder == root:
            return None
    return None


def _program(installed: Path, name: str) -> str | None:
    named = read_json(installed / "package.json").get("bin")
    found = named.get(name) if isinstance(named, dict) else named
    return found.removeprefix("./") if isinstance(found, str) else None


def _there(app_dir: Path, assets: Mapping[str, str]) -> dict[str, str]:
    return {url: place for url, place in assets.items() if (app_dir / place).is_dir()}


def _text(app_dir: Path, pattern: str) -> str:
    return "\n".join(path.read_text(errors="replace") for path in sorted(app_dir.glob(pattern)) if path.is_file())


def _said(config: str, key: str) -> str | None:
    """A plain text that a configuration file gives to a key."""
    match = re.search(rf"""\b{key}\s*:\s*["'`]([\w./-]+)["'`]""", config)
    return match[1].removeprefix("./").rstrip("/") if match else None


def _adapter(what: str, fix: str) -> BuildError:
    return BuildError(what, code="adapter-unsupported", fix=fix)
