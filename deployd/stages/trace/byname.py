"""Packages that a traced package loads by a name that stands in a text -> all their files: no tracer follows a text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.stages.trace import manifests, wholepackages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployd.stages.trace.found import Found

# Where the first one is traced, the app's own code names what it loads: `transport: { target: "pino-pretty" }`.
_TARGETS = {"pino": re.compile(r"""\btarget["']?\s*:\s*["'`]((?:@[\w.-]+/)?[\w][\w.-]*)(?:/[\w./-]+)?["'`]""")}
# Where the first one is traced, it loads those of the others that the app needs itself.
_DRIVERS = {
    "sequelize": ("pg", "pg-hstore", "mysql2", "mariadb", "sqlite3", "tedious", "oracledb", "odbc"),
    # by the ending of the page: `response.render("shop.pug")`
    "express": (
        "ejs",
        "pug",
        "hbs",
        "hjs",
        "eta",
        "twig",
        "jade",
        "express-handlebars",
        "nunjucks",
        "mustache-express",
    ),
}
# The same, and its driver may be one for development: it runs sources.
_COMPILERS = {"ts-node": ("typescript", "@swc/core")}
# What code of other packages serves or reads from their folders, by a path that only they know.
_READ_WHOLE = ("swagger-ui-dist", "@bull-board/ui", "geoip-lite")
_CODE = (".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".tsx", ".jsx")
_LARGEST_CODE = 5_000_000


def add(found: Found, *, app_dir: Path, root: Path) -> None:
    """Take the packages that are loaded so, with all that they need, as far as they are installed and not there."""
    for place in _begun(found):
        files = wholepackages.whole([(root / place, "its files are read by a path of its own")], root=root)
        found.add(file for file in files if not found.has(file.path))
    for package, name in _named(found, app_dir):
        link = wholepackages.installed(name, app_dir, root=root)
        if link is None or _has(found, name):
            continue
        files = wholepackages.whole([(link, f"loaded by {package}, by its name")], root=root)
        found.add(file for file in files if not found.has(file.path))


def _begun(found: Found) -> list[str]:
    """Where packages lie that are read whole, as far as a file of theirs is traced."""
    inside = (path.rpartition(f"node_modules/{name}/") for path in found.files for name in _READ_WHOLE)
    return sorted({f"{top}{middle}".rstrip("/") for top, middle, _ in inside if middle})


def _named(found: Found, app_dir: Path) -> Iterator[tuple[str, str]]:
    for package, pattern in _TARGETS.items():
        if _has(found, package):
            said = {name for text in _own_code(found) for name in pattern.findall(text)}
            yield from ((package, name) for name in sorted(said))
    facts = manifests.read(app_dir / "package.json")
    needs = dict.fromkeys(facts.get("dependencies") or {})
    for known, there in ((_DRIVERS, needs), (_COMPILERS, needs | dict.fromkeys(facts.get("devDependencies") or {}))):
        for package, names in known.items():
            if _has(found, package):
                yield from ((package, name) for name in names if name in there)


def _has(found: Found, package: str) -> bool:
    place = f"node_modules/{package}/package.json"
    return any(path == place or path.endswith(f"/{place}") for path in found.files)


def _own_code(found: Found) -> Iterator[str]:
    for path, file in found.files.items():
        is_own = path.endswith(_CODE) and "node_modules" not in path.split("/")
        if is_own and file.symlink is None and file.size <= _LARGEST_CODE:
            yield Path(file.source).read_text(errors="replace")
