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


def write(into: Path, commit: str, *, branch: str | None, git_dir: Path, cancel: threading.Event | None = None) -> None:
    """Make `into/.git` of a commit that `git_dir` has. The checkout is good without: what fails leaves none."""
    home = into / ".git"
    if home.exists() or home.is_symlink():
        return
    try:
        kind = git.run("rev-parse", "--show-object-format", git_dir=git_dir).text.strip()
        git.run("init", "--quiet", "--template=", f"--object-format={kind}", "--", str(into))
        named = git.run(
            "rev-list", "--objects", "--no-walk", "--filter=blob:none", commit, git_dir=git_dir, cancel=cancel
        )
        names = b"".join(line.split(b" ")[0] + b"\n" for line in named.stdout.splitlines())
        (home / "objects" / "pack").mkdir(parents=True, exist_ok=True)
        process.run(
            ["git", f"--git-dir={git_dir}", "pack-objects", "--quiet", str(home / "objects" / "pack" / "pack")],
            stdin=names, env=git.environment(), timeout=600, cancel=cancel,
        )  # fmt: skip
        (home / "shallow").write_text(f"{commit}\n")
        head = commit
        if branch and git.run("check-ref-format", "--branch", branch, check=False).returncode == 0:
            git.run("update-ref", f"refs/heads/{branch}", commit, git_dir=home)
            head = f"ref: refs/heads/{branch}"
        (home / "HEAD").write_text(f"{head}\n")
        git.run("read-tree", commit, git_dir=home, cancel=cancel)
    except (CommandError, OSError):
        with suppress(OSError):
            shutil.rmtree(home)
