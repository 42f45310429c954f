"""repository -> bare mirror: kept by deployd, fetched under a lock, and refs resolved in it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.errors import CommandError, RefError, SourceError
from deployd.stages.source import git, objects

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")  # whole, as git names it
HEAD = "refs/deployd/HEAD"  # what the far side's HEAD was


@dataclass(frozen=True, slots=True)
class Mirror:
    """A bare repository that holds what `repository` had when it was last fetched."""

    git_dir: Path
    repository: str


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def kept(repository: str, commit: str, *, mirrors: Path) -> Mirror | None:
    """The mirror, if it has that full commit already: a commit never changes, so nothing need be fetched for it."""
    mirror = place(repository, commit, mirrors=mirrors)
    return mirror if mirror is not None and has(mirror, commit) else None


def place(repository: str, commit: str, *, mirrors: Path) -> Mirror | None:
    """The mirror that may have that full commit; None when there is none yet, or the commit's id is not whole."""
    if not COMMIT.fullmatch(commit):
        return None
    mirror = _mirror(git.checked_repository(repository), mirrors)
    return mirror if (mirror.git_dir / "HEAD").exists() else None


def _mirror(repository: str, mirrors: Path) -> Mirror:
    name = hashlib.sha256(repository.encode(errors="surrogateescape")).hexdigest()[:24]
    return Mirror(mirrors.absolute() / f"{name}.git", repository)


def fetch(
    repository: str, *, mirrors: Path, wanted: str | None = None, cancel: threading.Event | None = None
) -> Mirror:
    """Bring a repository's mirror up to date; `wanted` is a commit that must be in it. Raises SourceError."""
    repository = git.checked_repository(repository)
    mirror = _mirror(repository, mirrors)
    mirrors.mkdir(parents=True, exist_ok=True)
    with _locked(mirror.git_dir.with_suffix(".lock")):
        if not (mirror.git_dir / "HEAD").exists():
            git.run("init", "--quiet", "--bare", "--", str(mirror.git_dir))
        try:
            _fetch_all(mirror, cancel=cancel)
            if wanted and not has(mirror, wanted):
                _fetch(mirror, [f"+{wanted}:refs/deployd/{wanted}"], prune=False, cancel=cancel)
        except CommandError as error:
            raise SourceError(
                f"{repository} could not be fetched",
                code="fetch-failed",
                details=error.details,
                fix="try `git ls-remote` with that address as the same user",
            ) from error
    return mirror


def _fetch_all(mirror: Mirror, *, cancel: threading.Event | None) -> None:
    branches = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
    try:
        _fetch(mirror, [*branches, f"+HEAD:{HEAD}"], prune=True, cancel=cancel)
    except CommandError as error:
        if "remote ref HEAD" not in (error.details or ""):
            raise
        # the far side's HEAD names a branch that is gone; its other branches are there
        git.run("update-ref", "-d", HEAD, git_dir=mirror.git_dir)
        _fetch(mirror, branches, prune=True, cancel=cancel)


def _fetch(mirror: Mirror, specs: list[str], *, prune: bool, cancel: threading.Event | None) -> None:
    options = ["--quiet", "--force", "--no-tags", "--no-recurse-submodules", "--update-shallow", "--no-auto-gc"]
    if prune:
        options.append("--prune")
    if git.is_local(mirror.repository) or mirror.repository.startswith("file:"):
        # git does not hand our settings on to the far half, which refuses a repository of another user's
        options.append("--upload-pack=git -c 'safe.directory=*' upload-pack")
    # gc.auto: a checkout may be reading the mirror; --update-head-ok: the mirror's own HEAD means nothing
    git.run(
        "-c", "gc.auto=0", "fetch", *options, "--update-head-ok", "--", mirror.repository, *specs,
        git_dir=mirror.git_dir, cancel=cancel,
    )  # fmt: skip


def has(mirror: Mirror, commit: str) -> bool:
    """Whether a commit is in the mirror."""
    return git.run("cat-file", "-e", f"{commit}^{{commit}}", git_dir=mirror.git_dir, check=False).returncode == 0


def resolve(mirror: Mirror, ref: str) -> str:
    """The full commit id of a branch, tag or commit; raises SourceError."""
    ref = git.checked_ref(ref)
    candidates = [HEAD] if ref == "HEAD" else [f"refs/heads/{ref}", f"refs/tags/{ref}", ref]
    found = objects.read(mirror.git_dir, [f"{candidate}^{{commit}}" for candidate in candidates])
    commit = next((one.oid for one in found if one is not None), None)
    if commit:
        return commit
    raise RefError(
        f"{mirror.repository} has no branch, tag or commit {ref!r}",
        code="ref-unknown",
        fix="see `git branch -a` and `git tag`; a commit must be on a branch or tag that was pushed",
    )


def commit_of(ref: str, *, git_dir: Path | None = None, cwd: Path | None = None) -> str | None:
    """The full commit id that `ref` names in a repository, or None."""
    done = git.run(
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        f"{ref}^{{commit}}",
        git_dir=git_dir,
        cwd=cwd,
        check=False,
    )
    return done.text.strip() if done.returncode == 0 and done.text.strip() else None


def wanted(ref: str, *, cwd: Path) -> str | None:
    """The full commit id that a person means by `ref` in a working tree: a branch wins over a tag, as in a mirror."""
    return (commit_of(f"refs/heads/{ref}", cwd=cwd) if ref != "HEAD" else None) or commit_of(ref, cwd=cwd)
