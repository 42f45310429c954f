"""A look into a commit without a checkout: repository and ref come in, the commit and one file's text go out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.errors import SourceError
from deployd.stages.source import mirror, objects

if TYPE_CHECKING:
    import threading
    from pathlib import Path

_MOST = 1_000_000  # bytes; a deployd.toml is a few thousand


@dataclass(frozen=True, slots=True, kw_only=True)
class Peek:
    """What a ref is at this moment, and the text of the file that was asked for."""

    commit: str
    text: str


def peek(
    repository: str,
    ref: str,
    path: str,
    *,
    mirrors: Path,
    wanted: str | None = None,
    cancel: threading.Event | None = None,
) -> Peek:
    """Read `path` (from the top) of `ref`, or of the commit `wanted`; raises SourceError.

    The mirror is fetched before, unless it has `wanted` already.
    """
    there = _there(repository, wanted, path, mirrors=mirrors, cancel=cancel) if wanted else None
    if there is not None:
        commit, blob = there
    else:
        found = mirror.fetch(repository, mirrors=mirrors, cancel=cancel)
        if wanted and not mirror.has(found, wanted):
            found = _fetch_commit(repository, wanted, mirrors=mirrors, cancel=cancel)
        commit = mirror.resolve(found, wanted or ref)
        (blob,) = objects.read(found.git_dir, [f"{commit}:{path}"], cancel=cancel)
    if blob is None or blob.kind != "blob" or len(blob.data) > _MOST:
        raise SourceError(
            f"commit {commit[:10]} of {repository} has no file {path}",
            code="app-file-missing",
            live="unchanged",
            fix="commit deployd.toml in the app's folder (`deployd init` writes one), or register the app with --dir",
        )
    return Peek(commit=commit, text=blob.data.decode(errors="replace"))


def _there(
    repository: str, wanted: str, path: str, *, mirrors: Path, cancel: threading.Event | None
) -> tuple[str, objects.Found | None] | None:
    """A full commit that the mirror has already, and the file in it: nothing is fetched, and git is asked once."""
    place = mirror.place(repository, wanted, mirrors=mirrors)
    if place is None:
        return None
    commit, blob = objects.read(place.git_dir, [f"{wanted}^{{commit}}", f"{wanted}:{path}"], cancel=cancel)
    return (commit.oid, blob) if commit is not None else None


def _fetch_commit(repository: str, commit: str, *, mirrors: Path, cancel: threading.Event | None) -> mirror.Mirror:
    """A commit that is on no branch any more may still be had; one that was never pushed may not."""
    try:
        return mirror.fetch(repository, mirrors=mirrors, wanted=commit, cancel=cancel)
    except SourceError as error:
        raise SourceError(
            f"{repository} does not have commit {commit[:10]}",
            code="commit-not-pushed",
            live="unchanged",
            details=error.details,
            fix="push it (git push), then release again",
        ) from error
