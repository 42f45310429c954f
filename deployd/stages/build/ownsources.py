"""app folder -> its own source files, and the files and folders of the app that they name in plain text."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOURCES = {".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"}
_NOT_IN = {"node_modules", ".git", "dist", "build", "out", "coverage", "test", "tests", "__tests__", "client", "public"}
_MOST_FILES, _LARGEST, _MOST_NAMED = 400, 500_000, 200
# What a program reads; a module is found by its import.
_READ = (
    r"json|ya?ml|toml|txt|md|html?|hbs|handlebars|ejs|pug|njk|mustache|liquid|tmpl|eta|sql|proto|graphql|gql|csv|tsv|xml"
    r"|wasm|svg|png|jpe?g|webp|ico|ttf|otf|woff2?|pdf|db|sqlite3?|mmdb|bin|lua|css"
)
_FILE = re.compile(rf"""["'`](?:\./)?([\w@-][\w@.-]*(?:/[\w@.\[\]-]+)*\.(?:{_READ}))["'`]""")
_FOLDER = re.compile(
    r"""(?:set\(\s*["']views["']\s*,\s*|(?:static|serveStatic|readdir(?:Sync)?|opendir(?:Sync)?)\(\s*)["'`](?:\./)?([\w@-][\w@./-]*)["'`]"""
    r"""|\b(?:root|directory|views|dir|migrationsFolder)\s*:\s*["'`](?:\./)?([\w@-][\w@./-]*)["'`]"""
)
# path.join(process.cwd(), "schema", "**/*.graphql"), and globs: what stands before the first star is the folder
_JOINED = re.compile(r"""process\.cwd\(\)((?:\s*,\s*["'`][^"'`\n]+["'`])+)\s*\)|\$\{process\.cwd\(\)\}(/[^"'`\s$]+)""")
_GLOB = re.compile(r"""["'`](?:\./)?((?:[\w@-][\w@.-]*/)+)[^"'`\s/*{]*[*{][^"'`\s]*["'`]""")
_NO_GLOBS_IN = re.compile(r"^\.|\.config\.|^(?:gulpfile|gruntfile|karma)", re.IGNORECASE)
_TESTS = {"test", "tests", "__tests__", "coverage", "spec", "e2e"}
_NOT_READ = re.compile(
    r"(?:^|/)(?:package(?:-lock)?|[tj]sconfig[\w.-]*|\.?eslintrc[\w.-]*|nest-cli|turbo|deployd)\.\w+$"
)


def sources(app_dir: Path) -> Iterator[Path]:
    """The app's JavaScript and TypeScript, without packages, tests and what a build writes; not too many."""
    found = 0
    for here, folders, files in os.walk(app_dir):
        folders[:] = sorted(name for name in folders if name not in _NOT_IN and not name.startswith("."))
        for name in sorted(files):
            path = Path(here) / name
            if path.suffix in _SOURCES and path.is_file() and path.stat().st_size < _LARGEST:
                yield path
                found += 1
                if found >= _MOST_FILES:
                    return


def named(app_dir: Path) -> tuple[str, ...]:
    """What the sources name from the app's folder, which is the server's working folder: `readFile("data/x.json")`.

    Tracing sees what is named from a file's own place, and what is imported.
    """
    found: set[str] = set()
    for path in sources(app_dir):
        text = path.read_text(errors="replace")
        files = {match[1] for match in _FILE.finditer(text)}
        folders = {(match[1] or match[2]).rstrip("/") for match in _FOLDER.finditer(text)}
        joined = {_before_star(match[1] or match[2]) for match in _JOINED.finditer(text)}
        if not _NO_GLOBS_IN.search(path.name):
            folders |= {match[1].rstrip("/") for match in _GLOB.finditer(text)}
        files |= joined
        folders |= joined
        found |= {
            one for one in files if _is_own(one, app_dir) and (app_dir / one).is_file() and not _NOT_READ.search(one)
        }
        found |= {one for one in folders if _is_own(one, app_dir) and (app_dir / one).is_dir()}
    return tuple(sorted(found))[:_MOST_NAMED]


def _before_star(said: str) -> str:
    """The path that texts in a row name, up to what is a glob in them."""
    quoted = re.findall(r"""["'`]([^"'`]+)["'`]""", said) or [said]
    parts = [part for text in quoted for part in text.split("/") if part not in ("", ".")]
    first = next((n for n, part in enumerate(parts) if re.search(r"[*{}$]", part)), len(parts))
    return "/".join(parts[:first])


def _is_own(name: str, app_dir: Path) -> bool:
    parts = Path(name).parts
    inside = parts and ".." not in parts and not {"node_modules", ".git"}.intersection(parts) and parts[0] not in _TESTS
    return bool(inside) and Path(os.path.realpath(app_dir / name)).is_relative_to(os.path.realpath(app_dir))
