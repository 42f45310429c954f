"""A repository and a commit -> a small `.git` in the checkout, so that a build can ask git which commit it is.

`generateBuildId`, Sentry and many a version page run `git rev-parse HEAD` while they build. It knows that commit, its
branch and its trees: no history, no tag, no remote, no content of a file. It never travels.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from deployd import process
from deployd.errors import CommandError
from deployd.stages.source import git

if TYPE_CHECKING:
    import threading
    from pathlib import Path

_SHA256 = 64  # characters of a commit's id in a repository of that kind


def write(into: Path, commit: str, *, branch: str | None, git_dir: Path, cancel: threading.Event | None = None) -> None:
    """Make `into/.git` of a commit that `git_dir` has. The checkout is good without: what fails leaves none."""
    home = into / ".git"
    if home.exists() or home.is_symlink():
        return
    try:
        _begin(home, sha256=len(commit) == _SHA256)
        named = git.run(
            "rev-list", "--objects", "--no-walk", "--filter=blob:none", commit, git_dir=git_dir, cancel=cancel
        )
        names = b"".join(line.split(b" ")[0] + b"\n" for line in named.stdout.splitlines())
        process.run(
            ["git", f"--git-dir={git_dir}", "pack-objects", "--quiet", str(home / "objects" / "pack" / "pack")],
            stdin=names, env=git.environment(), timeout=600, cancel=cancel,
        )  # fmt: skip
        (home / "shallow").write_text(f"{commit}\n")
        head = commit
        if branch and "\n" not in branch:
            (home / "packed-refs").write_text(f"{commit} refs/heads/{branch}\n")
            head = f"ref: refs/heads/{branch}"
        (home / "HEAD").write_text(f"{head}\n")
        git.run("read-tree", commit, git_dir=home, cancel=cancel)
    except (CommandError, OSError):
        with suppress(OSError):
            shutil.rmtree(home)


def _begin(home: Path, *, sha256: bool) -> None:
    """What `git init` makes, without starting git for it."""
    for folder in ("objects/pack", "objects/info", "refs/heads", "refs/tags"):
        (home / folder).mkdir(parents=True)
    version, extension = (1, "[extensions]\n\tobjectformat = sha256\n") if sha256 else (0, "")
    core = f"[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = false\n"
    (home / "config").write_text(core + extension)
