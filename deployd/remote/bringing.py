"""What a daemon of another user cannot read is brought to it: a commit, an artifact file."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.errors import UsageError
from deployd.rollouts.wishes import ReleaseWish

if TYPE_CHECKING:
    from deployd.domain.stages import SourceRequest
    from deployd.remote.connection import Connection
    from deployd.rollouts.wishes import Wish


def brought(wish: Wish, link: Connection) -> Wish:
    """The wish as the daemon can do it; raises UsageError for what can only be read here."""
    place = link.daemon.socket
    if not isinstance(wish, ReleaseWish) or place is None or place.stat().st_uid == os.geteuid():
        return wish
    if wish.artifact_file is not None:
        return replace(wish, artifact_file=_upload(link, Path(wish.artifact_file), kind="artifact", app=wish.app))
    if wish.source is None or wish.source.dirty:
        what = "--prebuilt" if wish.source is None else "--dirty"
        raise UsageError(
            f"{what} needs a daemon that may read your files: this one runs as another user",
            code="daemon-other-user",
            fix="deployd package -o shop.tar.gz, then deployd release --artifact shop.tar.gz; or commit it",
        )
    return replace(wish, source=_source(link, wish.source, app=wish.app))


def _source(link: Connection, source: SourceRequest, *, app: str) -> SourceRequest:
    from deployd.stages import source as stage

    commit = commit_of(source.repository, source.ref)
    with tempfile.TemporaryDirectory(prefix="deployd-bring-") as folder:
        file = Path(folder) / "bundle"
        stage.write_bundle(Path(source.repository), commit, branch=_branch(source), to=file)
        path = _upload(link, file, kind="bundle", app=app)
    return replace(source, repository=path, ref=commit)


def commit_of(repository: str, ref: str) -> str:
    """The commit that a person means, a branch before a tag of the same name; raises UsageError."""
    from deployd.stages import source as stage

    found = stage.wanted(ref, cwd=Path(repository))
    if not found:
        raise UsageError(f"{repository} has no commit {ref!r}", code="ref-unknown", fix="see `git branch -a`")
    return found


def _branch(source: SourceRequest) -> str | None:
    if source.ref == "HEAD":
        return _git(source.repository, "symbolic-ref", "--short", "--quiet", "HEAD") or None
    return (
        source.ref if _git(source.repository, "rev-parse", "--verify", "--quiet", f"refs/heads/{source.ref}") else None
    )


def _git(repository: str, *words: str) -> str:
    from deployd import process

    return process.run(["git", "-C", repository, *words], check=False).text.strip()


def _upload(link: Connection, file: Path, *, kind: str, app: str) -> str:
    with file.open("rb") as data:
        return str(link.upload("/v1/uploads", data, kind=kind, app=app)["path"])
