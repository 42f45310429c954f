"""A folder of web pages -> how a web server answers for them without a process."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd.domain.artifact import StaticSite
from deployd.errors import BuildError
from deployd.stages.build import manifest, probing, startscript
from deployd.stages.build.left import Left, missing

if TYPE_CHECKING:
    from deployd.domain.stages import BuildPlan

# What a generator writes to, where its configuration does not say otherwise.
FOLDERS: dict[str, tuple[str, ...]] = {
    "@11ty/eleventy": ("_site",),
    "@docusaurus/core": ("build",),
    "gatsby": ("public",),
    "vitepress": (".vitepress/dist", "docs/.vitepress/dist"),
    "react-scripts": ("build",),
    "@angular/core": ("dist",),
    "@vue/cli-service": ("dist",),
    "parcel": ("dist",),
    "vite": ("dist",),
    "hexo": ("public",),
}
_USUAL = ("dist", "build", "out", "_site", "site", "www", "public")
UNBUILT = (".", "public", "dist", "build", "_site", "site", "www", "docs")
# One page that draws all others by itself: unknown paths are its own.
_ONE_PAGE = {"vite", "react-scripts", "@vue/cli-service", "@angular/core", "parcel"}
_FALLBACKS = ("200.html", "__spa-fallback.html")
_SPECIAL = {"index.html", "404.html", "200.html", "403.html", "500.html", "offline.html", "__spa-fallback.html"}
_OUT = re.compile(r"""\s--(?:outDir|out-dir|dist-dir|output|output-path|dest)[=\s]["']?([\w./-]+)""")
_NOT_PAGES = {"node_modules", ".git"}
_ENOUGH = 2000


def find(plan: BuildPlan, *, app_dir: Path, log: Path) -> Left:
    """The folder with the site's index.html; raises BuildError that names the folders that were looked at."""
    package = manifest.read(app_dir) if (app_dir / "package.json").is_file() else {}
    needs = manifest.needs(package)
    served, one_page = served_folder(package)
    places = (plan.output,) if plan.output else places_of(needs, app_dir, built=bool(plan.command))
    if plan.command and not plan.output:
        places = (*_commanded(package), *places)
    places = places if plan.output or not served else (served, *places)
    folder = next((place for place in places if (app_dir / place / "index.html").is_file()), None)
    if folder is None:
        folder = _below(app_dir, places)
    if folder is None and plan.command and not plan.output:
        folder = _inner(app_dir)
        needs |= manifest.needs(manifest.read(app_dir / Path(folder).parent)) if folder else {}
    if folder is None:
        raise missing(
            "no index.html is where a site without a server has it", looked_at=places, key="build.output", log=log
        )
    base = probing.base_of(app_dir, "static", package) if plan.command else ""
    return left(app_dir, folder, one_page=one_page or bool(_ONE_PAGE.intersection(needs)), base=base)


def left(
    app_dir: Path, folder: str, *, one_page: bool = False, trailing_slash: bool | None = None, base: str = ""
) -> Left:
    """The site in `folder`; `one_page` says that a lone index.html answers every path.

    `base` is where its configuration says that it stands; its pages know better, if they name files at all.
    """
    if not Path(os.path.realpath(app_dir / folder)).is_relative_to(os.path.realpath(app_dir)):
        raise BuildError(
            f"the folder {folder} lies outside of the app's folder",
            code="build-output-outside",
            fix="let the build write below the app's folder, and name it with build.output",
        )
    pages = _pages(app_dir / folder)
    fallback = next((name for name in _FALLBACKS if name in pages), None)
    if fallback is None and one_page and pages == ["index.html"]:
        fallback = "index.html"
    told = _base(app_dir / folder)
    said = base.strip("/") if not (app_dir / folder / base.strip("/") / "index.html").is_file() else ""
    base = said if told is None else told
    at = f"{base}/" if base else ""
    not_found = next((name for name in ("404.html", "404/index.html") if name in pages), None)
    site = StaticSite(
        folder=folder,
        trailing_slash=_in_folders(pages) if trailing_slash is None else trailing_slash,
        not_found=not_found and f"{at}{not_found}",
        fallback=fallback and f"{at}{fallback}",
    )
    placed = {f"/{at}{url.removeprefix('/')}": place for url, place in _assets(app_dir, folder).items()}
    return Left(kind="static", folder=folder, static=site, base=base, assets=placed)


def _base(folder: Path) -> str | None:
    """The path below which a site was built to stand (Vite's and Astro's `base`, VitePress's, Docusaurus's `baseUrl`).

    None where its first page names none of its files. Pages name them by it, and the files lie without it:
    `/docs/assets/x.js` is `assets/x.js`.
    """
    page = folder / "index.html"
    text = page.read_text(errors="replace") if page.is_file() else ""
    found: set[str] = set()
    for named in re.findall(r"""\b(?:src|href)=["']?/([^/"'?#\s>][^"'?#\s>]*\.(?:js|mjs|css|svg|png|ico))\b""", text):
        if (folder / named).is_file():
            return ""
        parts = named.split("/")
        if not named.endswith((".js", ".mjs", ".css")):
            continue  # an image may well be another server's
        cut = next((n for n in range(1, len(parts)) if (folder / "/".join(parts[n:])).is_file()), None)
        if cut:
            found.add("/".join(parts[:cut]))
    if not found:
        return None
    return found.pop() if len(found) == 1 else ""


def served_folder(package: dict[str, Any]) -> tuple[str | None, bool]:
    """The folder that a start script gives to a file server, and whether one page answers for all: `serve -s build`."""
    for name in ("serve", "http-server", "sirv", "live-server", "vite"):
        words = startscript.command(package, name)
        if words is None or (name == "vite" and words[:1] != ("preview",)):
            continue
        one_page = bool({"-s", "--single"}.intersection(words))
        values = {"-l", "-p", "-L", "--listen", "--port", "-c", "--config"}
        plain = [
            word for number, word in enumerate(words)
            if not word.startswith("-") and word != "preview" and (number == 0 or words[number - 1] not in values)
        ]  # fmt: skip
        named = os.path.normpath(plain[0]) if plain and name != "vite" else None
        return (None if named and named.startswith(("..", "/")) else named), one_page
    return None, False


def places_of(needs: dict[str, str], app_dir: Path, *, built: bool) -> tuple[str, ...]:
    """The folders to look at, the likeliest first."""
    if not built:
        return UNBUILT
    named = [place for tool, places in FOLDERS.items() if tool in needs for place in places]
    return tuple(dict.fromkeys([*_configured(app_dir), *named, *_USUAL]))


def _configured(app_dir: Path) -> list[str]:
    """The folder that Vite's or Eleventy's configuration names, if it is written there as a plain text."""
    found = []
    for path in sorted([*app_dir.glob("vite.config.*"), *app_dir.glob("*eleventy*.*s"), *app_dir.glob("eleventy.*")]):
        if path.is_file():
            match = re.search(r"""(?:outDir|\boutput)\s*:\s*["'`]([\w./-]+)["'`]""", path.read_text(errors="replace"))
            if match and not match[1].startswith(("/", "..")):
                found.append(match[1].removeprefix("./").rstrip("/") or ".")
    for top in ("", "docs", "website"):  # VitePress's is relative to its own folder
        for path in sorted((app_dir / top / ".vitepress").glob("config.*")):
            match = re.search(r"""\boutDir\s*:\s*["'`]([\w./-]+)["'`]""", path.read_text(errors="replace"))
            named = os.path.normpath(f"{top or '.'}/{match[1]}") if match else ".."
            found += [] if named.startswith(("..", "/")) else [named]
    return found


def _commanded(package: dict[str, Any]) -> list[str]:
    """The folders that build scripts name to their programs: `vite build --outDir site`."""
    texts = [text for name, text in manifest.scripts(package).items() if "build" in name or name == "generate"]
    named = (os.path.normpath(word) for text in texts for word in _OUT.findall(text))
    return [one for one in named if not one.startswith(("..", "/"))]


def _below(app_dir: Path, places: tuple[str, ...]) -> str | None:
    """Angular writes to `dist/NAME/browser`: the one index.html a little below a usual folder."""
    for place in places:
        found = [
            path
            for pattern in ("*/index.html", "*/browser/index.html")
            for path in sorted((app_dir / place).glob(pattern))
            if place not in (".", "public") and not _NOT_PAGES.intersection(path.parts)
        ]
        if len(found) == 1:
            return found[0].parent.relative_to(app_dir).as_posix()
    return None


def _inner(app_dir: Path) -> str | None:
    """What the build script made in a package below: the one `client/dist` or its like with an index.html."""
    places = [path for place in ("dist", "build", "out") for path in sorted(app_dir.glob(f"*/{place}/index.html"))]
    found = [path.parent for path in places if (path.parent.parent / "package.json").is_file()]
    own = [path for path in found if not _NOT_PAGES.intersection(path.parts)]
    return own[0].relative_to(app_dir).as_posix() if len(own) == 1 else None


def _pages(folder: Path) -> list[str]:
    """The pages of a site, from its top; enough of them to know its habits."""
    found: list[str] = []
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _NOT_PAGES and not name.startswith("."))
        found += [os.path.relpath(Path(here) / name, folder) for name in files if name.endswith(".html")]
        if len(found) > _ENOUGH:
            break
    return sorted(found)


def _in_folders(pages: list[str]) -> bool:
    """Whether all pages but the special ones are `name/index.html`, so that their relative links need the slash."""
    others = [page for page in pages if page not in _SPECIAL]
    return bool(others) and all(page.endswith("/index.html") for page in others)


def _assets(app_dir: Path, folder: str) -> dict[str, str]:
    """Vite's and Astro's files with a hash in their names, where no file of `public` can be among them."""
    own = {name for name in ("assets", "_astro", "_nuxt") if (app_dir / "public" / name).exists()}
    found = {"/_astro": "_astro", "/_nuxt": "_nuxt", "/_app/immutable": "_app/immutable"}
    if any(app_dir.glob("vite.config.*")):
        found["/assets"] = "assets"
    at = "" if folder == "." else f"{folder}/"
    return {
        url: f"{at}{place}" for url, place in found.items() if place not in own and (app_dir / folder / place).is_dir()
    }
