"""Pure answers about pushes: does a message say no, does a tag or do changed paths concern an app."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployd.domain.options import Push

_SKIP = re.compile(r"\[(?:skip[ -]deploy|deploy[ -]skip)\]", re.IGNORECASE)
# what decides about an install or a build in a folder above the app
_SHARED_NAMES = frozenset(
    {
        "package.json", "package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "pnpm-workspace.yaml",
        "yarn.lock", "bun.lock", "bun.lockb", ".npmrc", ".yarnrc.yml", ".yarnrc", ".pnpmfile.cjs", ".nvmrc",
        ".node-version", ".tool-versions", "turbo.json", "nx.json", "lerna.json", ".env", ".env.production",
    }
)  # fmt: skip
_SHARED_GLOB = re.compile(r"tsconfig[^/]*\.json")
_SHARED_FOLDERS = (".yarn", "patches")


def says_skip(message: str | None) -> bool:
    """Whether a head commit's message asks for no release: `[skip deploy]` or `[deploy skip]`."""
    return bool(message) and _SKIP.search(message or "") is not None


def tag_matches(tag: str, patterns: Iterable[str]) -> bool:
    """Whether one of the globs is the tag's."""
    return any(_glob(pattern).fullmatch(tag) for pattern in patterns)


def concerns(paths: Iterable[str], *, subdir: str, used: Iterable[str], push: Push) -> bool:
    """Whether one of the changed paths is the app's: below its folder, or a package's that it uses, or what installs
    and builds are decided by in the folders above it, or one of `push.paths`; `push.ignore` wins.
    """
    folders = (subdir, *used)
    above = {"", *(str(parent) for parent in PurePosixPath(subdir).parents if str(parent) != ".")} if subdir else {""}
    for path in paths:
        if any(_glob(pattern).fullmatch(path) for pattern in push.ignore):
            continue
        if any(not folder or path == folder or path.startswith(f"{folder}/") for folder in folders):
            return True
        if _is_shared(path, above) or any(_glob(pattern).fullmatch(path) for pattern in push.paths):
            return True
    return False


def _is_shared(path: str, above: set[str]) -> bool:
    folder, _, name = path.rpartition("/")
    if folder in above and (name in _SHARED_NAMES or _SHARED_GLOB.fullmatch(name)):
        return True
    return path.partition("/")[0] in _SHARED_FOLDERS


@lru_cache(maxsize=256)
def _glob(pattern: str) -> re.Pattern[str]:
    """A glob as an expression: `*` and `?` stop at `/`, `**` does not, `**/` may be nothing."""
    parts = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            parts.append("(?:[^/]+/)*")
            at += 3
        elif pattern.startswith("**", at):
            parts.append(".*")
            at += 2
        else:
            parts.append({"*": "[^/]*", "?": "[^/]"}.get(pattern[at], re.escape(pattern[at])))
            at += 1
    return re.compile("".join(parts), re.DOTALL)
