"""FileSet of a server -> the same with what `[rollout] before` needs: its commands' packages, its files, and a start.

Tracing follows what the server loads, and a command that migrates a database is no part of it.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.errors import PackageError
from deployd.stages.trace import analysis, commandline, manifests, serverjs, tree, wholepackages
from deployd.stages.trace.found import Found

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator

    from deployd.domain.stages import BuildOutput, FileSet, TracedFile

START = "deployd-before.sh"
"""What hosts run, at the top of the artifact, with the command line as its word."""
_CODE = (".js", ".mjs", ".cjs", ".ts", ".mts", ".cts")
# What known commands read by name in the app's folder.
_READ = {
    "prisma": ("prisma", "schema.prisma", "prisma.config.*", ".config/prisma.*"),
    "drizzle-kit": ("drizzle", "migrations", "drizzle.config.*"),
    "knex": ("migrations", "seeds", "db", "knexfile.*"),
    "sequelize": ("migrations", "models", "seeders", "config", "db", ".sequelizerc"),
    "sequelize-cli": ("migrations", "models", "seeders", "config", "db", ".sequelizerc"),
    "node-pg-migrate": ("migrations",),
    "db-migrate": ("migrations", "database.json"),
    "mikro-orm": ("migrations", "mikro-orm.config.*"),
    "tsx": ("tsconfig.json",),
    "ts-node": ("tsconfig.json",),
}


def add(files: FileSet, output: BuildOutput, *, tools: Path, cancel: threading.Event | None = None) -> FileSet:
    """Add them. Raises PackageError where there is no server, or a file of the command's leads out of the root."""
    said = output.plan.before
    if not said:
        return files
    if not files.entry:
        raise PackageError(
            f"rollout.before says `{said}`, and a site without a server has nothing that could run it",
            code="before-needs-server",
            fix="run it in the build (build.command), or take rollout.before out of deployd.toml",
        )
    app_dir, root = Path(output.app_dir), Path(files.root)
    place = "" if app_dir == root else os.path.relpath(app_dir, root)
    scripts = manifests.read(app_dir / "package.json").get("scripts") or {}
    text = commandline.plain(said, {name: one for name, one in scripts.items() if isinstance(one, str)})
    start = serverjs.kept(_start(said, text, place=place), at=START, tools=tools)
    more = [start, *_needed(text, app_dir=app_dir, root=root, tools=tools, node=output.plan.node, cancel=cancel)]
    return _with(files, more)


def _start(said: str, text: str, *, place: str) -> str:
    """A shell script: to the app's folder, the packages' commands on the PATH, then the command line."""
    steps = place.count("/") + 1 if place else 0
    bins = [f"$PWD/{'../' * number}node_modules/.bin" for number in range(steps + 1)]
    translated = f"case $1 in\n{shlex.quote(said)}) set -- {shlex.quote(text)} ;;\nesac\n" if text != said else ""
    return (
        "# written by deployd: runs what rollout.before says, in the app's folder, with its packages' commands\n"
        f'cd "$(dirname "$0")"/{shlex.quote(place or ".")} || exit 1\n'
        f'PATH="{":".join(bins)}:$PATH"\nexport PATH\n{translated}exec /bin/sh -c "$1"\n'
    )


def _needed(
    text: str, *, app_dir: Path, root: Path, tools: Path, node: str, cancel: threading.Event | None
) -> Iterator[TracedFile]:
    named = list(dict.fromkeys(commandline.words(text)))
    commands = [path for word in named if (path := wholepackages.command(word, app_dir=app_dir, root=root))]
    yield from wholepackages.files(commands, app_dir=app_dir, root=root)
    read = [path for one in commands for pattern in _READ.get(one.name, ()) for path in sorted(app_dir.glob(pattern))]
    own = [path for word in named if (path := _own_file(word, app_dir=app_dir))]
    for path in dict.fromkeys([app_dir / "package.json", *read, *own]):
        yield from _whole(path, app_dir=app_dir, root=root)
    entries = [path for path in dict.fromkeys([*own, *read]) if path.suffix in _CODE and path.is_file()]
    if not entries:
        return
    wish = analysis.Wish(
        entries=tuple(os.path.relpath(path, root) for path in entries),
        base=root,
        process_cwd=app_dir,
        conditions=analysis.conditions(node),
    )
    yield from analysis.files(analysis.run(wish, tools=tools, cancel=cancel), base=root)


def _own_file(word: str, *, app_dir: Path) -> Path | None:
    """The file or folder of the app that a word names: `dist/migrate` is `dist/migrate.js`."""
    if word.startswith(("-", "/", "..")) or word in {".", "./"}:
        return None
    path = app_dir / os.path.normpath(word)
    if not os.path.normpath(word).startswith("..") and path.exists():
        return path
    return next((one for ending in _CODE if "/" in word and (one := Path(f"{path}{ending}")).is_file()), None)


def _whole(path: Path, *, app_dir: Path, root: Path) -> Iterable[TracedFile]:
    at, reason = os.path.relpath(path, root), f"read by rollout.before: {path.relative_to(app_dir)}"
    if path.is_dir() and not path.is_symlink():
        skipped = {".git", "node_modules"}
        return tree.walk(path, at=at, reason=reason, root=root, skip=lambda one: one.rpartition("/")[2] in skipped)
    return tree.Root(root).take(at, reasons=(reason,))


def _with(files: FileSet, more: Iterable[TracedFile]) -> FileSet:
    """The set with these too; what it has stays as it is."""
    found = Found(writable=dict(files.writable))
    found.add(files.files, maps=True)
    found.add(file for file in more if not found.has(file.path))
    new = tuple(warning for warning in found.warnings() if warning not in files.warnings)
    return replace(
        files,
        files=tuple(found.files[path] for path in sorted(found.files)),
        warnings=(*files.warnings, *new),
    )
