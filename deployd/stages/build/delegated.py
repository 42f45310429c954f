"""A package.json whose start script starts another folder's -> the same, with that folder's own command in its place.

`npm start --workspace=api` becomes `cd api && node dist/main.js`: what reads start scripts reads one file's alone.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from deployd.errors import BuildError
from deployd.stages.build import manifest, startscript, workspaces
from deployd.stages.build.scriptwords import Command, commands, text_of

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAMS = {"npm", "pnpm", "yarn", "bun", "turbo"}
_WHERE = {"-w", "--workspace", "--prefix", "-C", "-F", "--filter", "--dir", "--cwd"}


def read(app_dir: Path) -> dict[str, Any]:
    """The app's package.json, with such start scripts spelled out; raises BuildError as `manifest.read` does."""
    package = manifest.read(app_dir)
    scripts = manifest.scripts(package)
    meant = {name: text for name in startscript.STARTS if name in scripts and (text := _meant(name, scripts, app_dir))}
    return {**package, "scripts": scripts | meant} if meant else package


def _meant(name: str, scripts: dict[str, str], app_dir: Path) -> str | None:
    """A start script's text with the other folder's command; None where it does not call another folder's script."""
    outer = next(commands(name, scripts), None)
    called = _called(outer) if outer else None
    folder = _folder(called[0], app_dir) if called else None
    if outer is None or called is None or folder is None:
        return None
    try:
        inner_scripts = manifest.scripts(manifest.read(app_dir / folder))
    except BuildError:
        return None
    inner = next(commands(called[1], inner_scripts), None) if called[1] in inner_scripts else None
    if inner is None:
        return None
    go = f"cd {shlex.quote(f'{folder}/{inner.folder}' if inner.folder else folder)}"
    before = [text_of(("sh", "-c", f"cd {shlex.quote(folder)} && {one}")) for one in inner.before]
    variables = dict(inner.variables) | dict(outer.variables)
    own = " ".join([*(f"{key}={shlex.quote(value)}" for key, value in variables.items()), text_of(inner.words)])
    return " && ".join([*outer.before, *before, go, own])


def _called(command: Command) -> tuple[str, str] | None:
    """Where a command leads, a folder or a package's name, and the script that it runs there."""
    program, rest = command.words[0], list(command.words[1:])
    if program not in _PROGRAMS:
        return None
    where, plain = command.folder, list[str]()
    while rest and rest[0] != "--":
        word = rest.pop(0)
        option, _, value = word.partition("=")
        if option in _WHERE or (program == "yarn" and word == "workspace"):
            where = value or (rest.pop(0) if rest else "")
        elif not word.startswith("-"):
            plain.append(word)
    script = next((word for word in plain if word not in {"run", "run-script"}), None)
    return (where, script) if where and script else None


def _folder(where: str, app_dir: Path) -> str | None:
    """The folder below the app's that a path or a package's name stands for."""
    name = where.strip("{}").removesuffix("...").removeprefix("./").rstrip("/")
    if not name or name.startswith(("..", "/")) or name == ".":
        return None
    if (app_dir / name / "package.json").is_file():
        return name
    members = workspaces.members(app_dir)
    return next((member.folder for member in members if member.name == name), None)
