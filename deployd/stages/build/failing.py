"""What a failed install or build printed, and its exit code -> the lines that matter, and what a person can do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deployd.stages.build import waysout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TOLD_LINES = 30
_LAST = 200  # of the lines tell what to do
LONGEST = 4000  # characters of a line that is shown
_TELLING = re.compile(r"error|failed|cannot find|not found|unexpected|ERR!|\u2a2f|\u2716|ELIFECYCLE", re.IGNORECASE)
# npm explains its own command line after an error, on thirty lines
_USAGE = re.compile(r"npm (?:error|ERR!) (?:Clean install a project|Usage:|Options:)")
_NOISE = re.compile(r"npm (?:error|ERR!|warn)?\s*$|npm warn Unknown (?:user|env|project|builtin) config ")
_TERMINAL = re.compile(
    r"\x1b\[[0-9;:?<=>!]*[ -/]*[@-~]"  # colours, and the moving cursor
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles and links
    r"|\x1b[ -/]*[0-~]"
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
# Yarn shows how its lock file would change, line by line, among what stays; the packages' own lines begin so
_YARN_LOCK, _YARN_PACKAGE = "YN0028: ", re.compile(r"YN0028: \u2502 [+-]\S")
_UNSET = re.compile(r"Failed to replace env in config: \$\{(\w+)|Environment variable not found \((\w+)\)")
_NAMED = re.compile(r"(?:_auth\w*|npmAuth\w*|_password)\W+\$\{(\w+)")
_NOT_FOUND = re.compile(
    r"^\S*sh: (?:line )?(?:\d+: )?([\w./@-]+): (?:command )?not found|^\S*sh: 1: ([\w./@-]+): ", re.MULTILINE
)
_CRASHED, _KILLED = (134, 139), 137


def plain(line: str) -> str:
    """A line without what colours or commands a terminal; of a line that was written over, what stands last."""
    clean = _TERMINAL.sub("", line).rstrip("\r\n")
    return _CONTROL.sub("", clean.rpartition("\r")[2])


def telling(lines: Sequence[str]) -> str | None:
    """The lines that matter: from the first that tells of an error, at most thirty; else the last thirty.

    Of a lock file that Yarn would change, the packages that it would change.
    """
    short = [plain(line).rstrip()[:LONGEST] for line in lines]
    short = [line for line in short if line and not _NOISE.match(line)]
    changes = [line for line in short if _YARN_LOCK in line]
    if changes:
        packages = [line for line in changes if _YARN_PACKAGE.search(line)]
        return "\n".join([*(packages or changes[:-1])[: _TOLD_LINES - 1], changes[-1]])
    first = next((n for n, line in enumerate(short) if _TELLING.search(line)), max(0, len(short) - _TOLD_LINES))
    chosen = short[max(0, first - 2) : first + _TOLD_LINES]
    usage = next((n for n, line in enumerate(chosen) if _USAGE.match(line)), len(chosen))
    return "\n".join(chosen[:usage]) or None


def way_out(lines: Sequence[str], *, installing: bool, returncode: int, folder: Path) -> str | None:
    """What to do about it, or None when nothing is known. `folder` is where the package manager was run."""
    text = "\n".join(plain(line) for line in lines[-_LAST:])
    known = (way for way in waysout.KNOWN if installing or not way.only_install)
    found = next((way for way in known if way.pattern.search(text)), None)
    if installing and found in (None, waysout.LET_IN):
        name = _variable(text, folder)
        if name and (found or _UNSET.search(text)):
            return (
                f"the registry's settings read {name}, which is not set or not right: `deployd env set --build {name}`"
            )
    if found:
        return found.fix
    missing = _NOT_FOUND.search(text)
    if missing:
        return f"{missing[1] or missing[2]} is not there: is it in package.json and in the lock file?"
    if returncode == _KILLED:
        return f"it was killed, which is what the kernel does when memory runs out: {waysout.MORE_MEMORY}"
    if returncode in _CRASHED:
        return "a program crashed: a native package may be for another platform, or memory may have run out"
    return None


def _variable(text: str, folder: Path) -> str | None:
    """The variable with the registry's token: one that the output names, else one that the app's settings read."""
    unset = _UNSET.search(text)
    if unset:
        return unset[1] or unset[2]
    for settings in (folder / ".npmrc", folder / ".yarnrc.yml"):
        named = _NAMED.search(settings.read_text(errors="replace")) if settings.is_file() else None
        if named:
            return named[1]
    return None
