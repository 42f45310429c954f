"""A folder that was built somewhere else -> SourceTree, as it lies there: nothing is copied, checked out or cleaned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.domain.stages import SourceTree
from deployd.errors import SourceError
from deployd.stages.source import git, mirror, working

if TYPE_CHECKING:
    from pathlib import Path

_LOCKS = ("package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock", "bun.lockb")


def tree(folder: Path) -> SourceTree:
    """The tree around an app's folder: its repository's, else that of the next lock file up. Raises SourceError."""
    folder = folder.resolve()
    if not folder.is_dir():
        raise SourceError(
            f"{folder} is not a folder",
            code="app-folder-missing",
            fix="name the app's folder, with what the build left in it",
        )
    top = git.top(folder)
    if top is None:
        above = [one for one in (folder, *folder.parents) if any((one / name).is_file() for name in _LOCKS)]
        return _tree(above[0] if above else folder, folder)
    commit = mirror.commit_of("HEAD", cwd=top)
    subject, author = described(top) if commit else (None, None)
    return _tree(
        top.resolve(), folder, commit=commit, subject=subject, author=author, dirty=bool(working.uncommitted(str(top)))
    )


def described(top: Path) -> tuple[str, str]:
    """Subject and author of the commit that is checked out."""
    subject, _, author = git.run("log", "-1", "--format=%s%x00%an <%ae>", cwd=top).text.rstrip("\n").partition("\0")
    return subject, author


def _tree(
    root: Path,
    folder: Path,
    *,
    commit: str | None = None,
    subject: str | None = None,
    author: str | None = None,
    dirty: bool = False,
) -> SourceTree:
    branch = git.run("symbolic-ref", "--short", "--quiet", "HEAD", cwd=root, check=False).text.strip() if commit else ""
    return SourceTree(
        root=str(root),
        app_dir=str(folder),
        tree_hash="",
        commit=commit,
        branch=branch or None,
        ref="HEAD",
        subject=subject,
        author=author,
        dirty=dirty,
    )
