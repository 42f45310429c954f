"""One cell of the matrix (major, router, package manager, output) -> the files of an app with all features it can have."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support import nextpieces as pieces
from tests.support import sites

if TYPE_CHECKING:
    from pathlib import Path

LINES = ("13.5", "14.2", "15.5", "16")
ROUTERS = ("app", "pages", "both")
MANAGERS = ("npm", "pnpm", "yarn", "bun")
OUTPUTS = ("none", "standalone", "export", "custom")
_MODERN = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One app. `base` is its basePath, `slash` its trailingSlash; with `locales` it has i18n (Pages Router alone)."""

    line: str
    router: str
    manager: str
    output: str
    base: str = ""
    slash: bool = False
    locales: bool = False
    sharp: bool = False
    typescript: bool = False
    src: bool = False

    @property
    def major(self) -> int:
        """13 to 16."""
        return int(self.line.split(".")[0])

    @property
    def has_app(self) -> bool:
        """Whether the App Router is there."""
        return self.router != "pages"

    @property
    def has_pages(self) -> bool:
        """Whether the Pages Router is there."""
        return self.router != "app"

    @property
    def server(self) -> bool:
        """Whether there is a process."""
        return self.output != "export"

    def __str__(self) -> str:
        marks = [self.base and "base", "slash" if self.slash else "", "i18n" if self.locales else ""]
        return "-".join([self.line, self.router, self.manager, self.output, *filter(None, marks)])


PLAIN = Cell(line="16", router="app", manager="npm", output="none")
"""No basePath, no slash: for apps that are no cell."""


def cells(line: str) -> list[Cell]:
    """The cover of one line: 14.2 and 16 have every router with every output, the others each value at least once.

    Package managers, basePath, trailingSlash and i18n go round, so that each meets each router and output.
    """
    full = line in ("14.2", "16")
    pairs = [(router, output) for output in OUTPUTS for router in ROUTERS]
    if not full:
        pairs = [("both", "none"), ("pages", "standalone"), ("app", "export"), ("both", "custom")]
    turn = LINES.index(line)
    made = []
    for number, (router, output) in enumerate(pairs):
        made.append(
            Cell(
                line=line,
                router=router,
                manager=MANAGERS[(number + number // 4 + turn) % 4],
                output=output,
                base="/docs" if number % 3 == 1 else "",
                slash=output == "export" or number % 5 == 3,
                locales=router == "pages" and output != "export",
                sharp=line in ("13.5", "14.2") and number % 2 == 1,
                src=number % 4 == 2 and output != "custom",
            )
        )
    return made


def write(cell: Cell, into: Path) -> None:
    """Write the app, and make it a git repository with one commit but no lock file yet."""
    for name, text in files(cell).items():
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (into / "public" / "photo.png").write_bytes(pieces.photo())


def commit(folder: Path, *, message: str = "a change") -> None:
    """Commit all there is."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", message)


def git(folder: Path, *words: str) -> None:
    """Run git as somebody."""
    who = ["-c", "user.name=ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def files(cell: Cell) -> dict[str, str]:
    """Every text file of the app."""
    found = dict(pieces.COMMON)
    if cell.has_app:
        found |= pieces.APP
        profile = ", { expire: 0 }" if cell.major > _MODERN else ""
        found["app/api/again/route.js"] = pieces.AGAIN % {"profile": profile}
        if cell.major == 13:
            found |= {name: text.replace('"next/og"', '"next/server"') for name, text in found.items()}
    if cell.has_pages:
        found |= pieces.PAGES
    if not cell.has_app:
        found |= pieces.ONLY_PAGES
    if cell.server:
        found["instrumentation.js"] = pieces.INSTRUMENTATION
        found |= _early(cell)
    else:
        found = {name: text for name, text in found.items() if _exportable(name)}
    if cell.output == "custom":
        found["server.js"] = pieces.SERVER
    found["next.config.js"] = _config(cell)
    found["package.json"] = _package(cell)
    if cell.base:  # as its documentation wants it of an image's src
        found = {name: text.replace('src="/photo.png"', f'src="{cell.base}/photo.png"') for name, text in found.items()}
    if cell.src:
        moved = ("app/", "pages/", "lib/", "styles/", "middleware.", "proxy.", "instrumentation.")
        found = {f"src/{name}" if name.startswith(moved) else name: text for name, text in found.items()}
    return found


def _early(cell: Cell) -> dict[str, str]:
    name = "proxy" if cell.major > _MODERN else "middleware"
    node = ', runtime: "nodejs"' if cell.line == "15.5" and cell.output != "custom" else ""
    text = pieces.EARLY % {
        "function": f"function {name}",
        "target": "/blog/one" if cell.has_app else "/p/blog/one",
        "base": cell.base,
        "runtime": node,
    }
    return {f"{name}.js": text}


def _exportable(name: str) -> bool:
    """Whether `output: 'export'` allows it."""
    if name.startswith("pages/"):
        return name in {"pages/_app.jsx", "pages/_document.jsx", "pages/p/index.jsx", "pages/index.jsx", "pages/landed.jsx",
                        "pages/404.jsx"}  # fmt: skip
    if name.startswith("app/"):
        return name in {"app/layout.jsx", "app/global.css", "app/page.module.css", "app/page.jsx", "app/fixed/[id]/page.jsx",
                        "app/landed/page.jsx", "app/not-found.jsx"}  # fmt: skip
    return name != "lib/doubler.jsx"


def _config(cell: Cell) -> str:
    settings: dict[str, object] = {"reactStrictMode": True}
    if cell.output in ("standalone", "export"):
        settings["output"] = cell.output
    if cell.base:
        settings["basePath"] = cell.base
    if cell.slash:
        settings["trailingSlash"] = True
    if cell.locales:
        settings["i18n"] = {"locales": ["en", "de"], "defaultLocale": "en"}
    if cell.output == "export":
        settings["images"] = {"unoptimized": True}
    elif cell.major >= _MODERN:
        settings["images"] = {"formats": ["image/avif", "image/webp"]}
    if cell.major < _MODERN and cell.server:
        settings["experimental"] = {
            "instrumentationHook": True,
            **({"serverActions": True} if cell.major == 13 else {}),
        }
    rules = ""
    if cell.server:
        rules = """
  settings.headers = async () => [{ source: "/told", headers: [{ key: "x-own", value: "header" }] }];
  settings.redirects = async () => [{ source: "/config/redirect", destination: "/landed", permanent: false }];
  settings.rewrites = async () => ({
    beforeFiles: [], afterFiles: [{ source: "/config/rewrite", destination: "/landed" }],
    fallback: [{ source: "/elsewhere/:path*", destination: "http://127.0.0.1:80/.deployd/health", basePath: false }] });"""
    return f"""module.exports = async (phase) => {{
  const settings = {json.dumps(settings)};{rules}
  return settings;
}};
"""


def _package(cell: Cell) -> str:
    needs = sites.next_needs(cell.line) | ({"sharp": "0.33.5"} if cell.sharp else {})
    start = "NODE_ENV=production node server.js" if cell.output == "custom" else "next start"
    named = {"packageManager": "yarn@4.5.0"} if cell.manager == "yarn" else {}
    scripts = {"dev": "next dev", "build": "next build", "start": start}
    return sites.package(name="shop", dependencies=needs, scripts=scripts, **named)
