"""A commit as one file (git's bundle): out of a repository here, into a bare one there, which is then fetched."""

from __future__ import annotations

import tempfile
from pathlib import Path

from deployd.errors import CommandError, SourceError
from deployd.stages.source import git


def write_bundle(repository: Path, commit: str, *, branch: str | None, to: Path) -> None:
    """Write a commit and its history to a file, as the head of `branch`; nothing is written to the repository."""
    shared = git.run("rev-parse", "--path-format=absolute", "--git-path", "objects", cwd=repository).text.strip()
    shallow = git.run("rev-parse", "--is-shallow-repository", cwd=repository).text.strip() == "true"
    if shallow:
        raise SourceError(
            f"{repository} is a shallow clone",
            code="shallow-clone",
            fix="git fetch --unshallow, then release again",
        )
    with tempfile.TemporaryDirectory(prefix="deployd-bundle-") as folder:
        place = Path(folder) / "git"
        git.run("init", "--quiet", "--bare", "--", str(place))
        (place / "objects" / "info" / "alternates").write_text(f"{shared}\n")
        ref = f"refs/heads/{branch or 'uploaded'}"
        git.run("update-ref", ref, commit, git_dir=place)
        git.run("bundle", "create", "--quiet", str(to), ref, git_dir=place)


def join_bundle(file: Path, *, into: Path) -> Path:
    """Take a bundle's heads into a bare repository, which is made when there is none. Raises SourceError.

    A tag for each commit keeps it there although the next bundle moves the branch: a rollout may wait for it.
    """
    try:
        if not (into / "HEAD").exists():
            git.run("init", "--quiet", "--bare", "--", str(into))
        git.run(
            "-c", "gc.auto=0", "fetch", "--quiet", "--force", "--no-tags", "--no-recurse-submodules",
            "--update-head-ok", "--", str(file), "+refs/heads/*:refs/heads/*",
            git_dir=into,
        )  # fmt: skip
        for commit in git.run("for-each-ref", "--format=%(objectname)", "refs/heads", git_dir=into).text.split():
            git.run("update-ref", f"refs/tags/uploaded-{commit}", commit, git_dir=into)
    except CommandError as error:
        raise SourceError(
            "what was uploaded is no bundle of git's", code="bundle-invalid", details=error.details, fix="upload again"
        ) from error
    return into
