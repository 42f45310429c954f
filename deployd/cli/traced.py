"""A FileSet -> what `deployd trace` prints: files, folders, the heaviest packages, the way to one file, and JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from deployd.cli.render import clean
from deployd.domain.artifact import path_to_json
from deployd.domain.quantity import format_size
from deployd.errors import NotFoundError
from deployd.rollouts.differences import package_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployd.cli.context import Cli
    from deployd.domain.stages import FileSet, TracedFile

_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\udc80-\udcff]")
_HEAVIEST = 8
_MOST_REASONS = 8


def shown(path: str) -> str:
    """A path on one line, and one that draws nothing: controls, and bytes that are no text, are written as escapes."""
    return _ODD.sub(_escaped, path)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    known = {9: "\\t", 10: "\\n", 13: "\\r"}
    return known.get(code) or f"\\x{code - 0xDC00 if code >= 0xDC80 else code:02x}"  # noqa: PLR2004 - a byte's stand-in


def document(files: FileSet) -> dict[str, Any]:
    """The set as `--json` gives it."""
    return {
        "root": path_to_json(files.root),
        "files": [file_document(file) for file in files.files],
        "warnings": list(files.warnings),
    }


def file_document(file: TracedFile) -> dict[str, Any]:
    """One file of it."""
    return {
        "path": path_to_json(file.path),
        "size": file.size,
        "symlink": None if file.symlink is None else path_to_json(file.symlink),
        "reasons": list(file.reasons),
    }


def draw(cli: Cli, files: FileSet, *, tree: bool) -> None:
    """Files (or folders) with their sizes, warnings, the heaviest packages, and the sum."""
    if tree:
        for folder, (count, size) in sorted(_folders(files).items()):
            depth = folder.count("/")
            name = shown(folder.rpartition("/")[2]) + "/"
            cli.out.line(f"{format_size(size):>9}  {'  ' * depth}{name}  {cli.out.paint(f'{count:,}', 'dim')}")
    else:
        for file in files.files:
            arrow = f" -> {shown(file.symlink)}" if file.symlink is not None else ""
            cli.out.line(f"{format_size(file.size):>9}  {shown(file.path)}{arrow}")
    for warning in files.warnings:
        cli.out.warn(clean(warning))
    heaviest = sorted(packages(files).items(), key=lambda item: (-item[1][1], item[0]))[:_HEAVIEST]
    if heaviest:
        cli.out.line()
        cli.out.table(
            ("PACKAGE", "FILES", "SIZE"),
            [(clean(name), f"{count:,}", format_size(size)) for name, (count, size) in heaviest],
            right=("FILES", "SIZE"),
        )
    total = sum(file.size for file in files.files)
    cli.out.done(f"{len(files.files):,} files, {format_size(total)}")


def draw_why(cli: Cli, files: FileSet, path: str, chain: Sequence[str]) -> None:
    """The reasons for one file, and the chain of files that leads to it."""
    file = one(files, path)
    if cli.options.json:
        cli.out.document(file_document(file) | {"chain": [path_to_json(step) for step in chain]})
        return
    cli.out.line(shown(path))
    for reason in file.reasons[:_MOST_REASONS]:
        cli.out.line(f"  {clean(reason)}")
    if len(file.reasons) > _MOST_REASONS:
        cli.out.line(f"  and {len(file.reasons) - _MOST_REASONS} more")
    if len(chain) > 1:
        cli.out.line()
        for depth, step in enumerate(chain):
            cli.out.line(f"{'  ' * depth}{'→ ' if depth else ''}{shown(step)}")


def one(files: FileSet, path: str) -> TracedFile:
    """The file of a path, as a person types it; raises NotFoundError."""
    wanted = path.removeprefix("./").removeprefix(f"{files.root}/")
    found = next((file for file in files.files if file.path == wanted), None)
    if found is None:
        raise NotFoundError(f"{path} is not among the traced files", code="file-not-traced", fix="see `deployd trace`")
    return found


def packages(files: FileSet) -> Mapping[str, tuple[int, int]]:
    """Each package of node_modules with the number of its files and their size in bytes."""
    found: dict[str, tuple[int, int]] = {}
    for file in files.files:
        name = package_of(file.path)
        if name is not None and file.symlink is None:
            count, size = found.get(name, (0, 0))
            found[name] = (count + 1, size + file.size)
    return found


def _folders(files: FileSet) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for file in files.files:
        parts = file.path.split("/")[:-1][:4]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            count, size = found.get(folder, (0, 0))
            found[folder] = (count + 1, size + file.size)
    return found
