"""Repositories that people push to over SSH: where they are, and how a push that is not accepted yet is looked at.

git keeps what a push brings apart until its pre-receive hook says yes, and only that hook sees it. So each app has two
bare repositories: `<app>.git`, which people push to, and `<app>.checked.git`, which the hook copies a branch to for the
daemon to fetch and build; where the release fails, the copy is taken back and the push refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.stages.source import git
from deployd.stages.source.mirror import commit_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# not GIT_QUARANTINE_PATH: the far half of the push would inherit it, and refuse to change its own refs
_QUARANTINE = ("GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
_LARGEST = 2 * 1024**3  # bytes of one push


@dataclass(frozen=True, slots=True, kw_only=True)
class Repositories:
    """The two repositories of an app, below `folder`."""

    folder: Path
    app: str

    @property
    def pushed(self) -> Path:
        """What people push to."""
        return self.folder / f"{self.app}.git"

    @property
    def checked(self) -> Path:
        """What the daemon fetches from."""
        return self.folder / f"{self.app}.checked.git"

    def make(self) -> None:
        """Make both, once."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (self.pushed, self.checked):
            if not (path / "HEAD").exists():
                git.run("init", "--quiet", "--bare", "--initial-branch=main", "--", str(path))

    def show(self, branch: str, commit: str) -> None:
        """Copy a commit of the push that is going on, so that the daemon sees the branch there. Only in its hook."""
        inside = {name: os.environ[name] for name in _QUARANTINE if name in os.environ}
        git.run("push", "--quiet", "--force", str(self.checked), f"{commit}:refs/heads/{branch}", env=inside)
        self._head(self.checked, branch)

    def take_back(self, branch: str, before: str | None) -> None:
        """Let the branch be what it was (or gone)."""
        where = f"refs/heads/{branch}"
        words = ("update-ref", where, before) if before else ("update-ref", "-d", where)
        git.run(*words, git_dir=self.checked)

    def at(self, branch: str) -> str | None:
        """What the daemon sees of a branch."""
        return commit_of(f"refs/heads/{branch}", git_dir=self.checked)

    def _head(self, path: Path, branch: str) -> None:
        """The default branch is the first that was pushed, unless `main` is there."""
        named = git.run("symbolic-ref", "HEAD", git_dir=path).text.strip()
        if commit_of(named, git_dir=path) is None:
            git.run("symbolic-ref", "HEAD", f"refs/heads/{branch}", git_dir=path)


def receive_argv(repository: Path, hooks: Path) -> tuple[str, ...]:
    """The program that takes a push, with our hook and nobody else's settings."""
    settings = (
        f"core.hooksPath={hooks}",
        "safe.directory=*",
        "transfer.fsckObjects=true",
        "receive.denyDeletes=false",
        "receive.denyNonFastForwards=false",
        "receive.autogc=false",
        f"receive.maxInputSize={_LARGEST}",
    )
    words = [word for setting in settings for word in ("-c", setting)]
    return ("git", *words, "receive-pack", str(repository))


def receive_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """What `receive-pack` and its hook get: no setting of the machine's or of the pusher's."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "GIT_PROTOCOL") if name in os.environ}
    return kept | {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"} | dict(extra)
