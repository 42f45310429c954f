"""A checkout that is of no use any more -> nothing, whatever modes a build left its folders with."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

from deployd.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


def remove(folder: Path) -> None:
    """Remove a folder and all in it; raises SourceError when something stays (the next build would find it)."""
    shutil.rmtree(folder, ignore_errors=True)
    if not os.path.lexists(folder):
        return
    _open(folder)  # deployd need not be root, and a build may shut a folder of its own
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise SourceError(
            f"{error.filename or folder}, which an earlier build left, cannot be removed: {error.strerror}",
            code="checkout-not-removed",
            live="unchanged",
            fix=f"remove {folder} as root, and release again",
        ) from error


def _open(folder: Path) -> None:
    """Give every folder below, links left alone, the modes that removing what is in it takes."""
    waiting = [str(folder)]
    while waiting:
        here = waiting.pop()
        if stat.S_ISDIR(os.lstat(here).st_mode):
            os.chmod(here, 0o700)  # noqa: PTH101 - text is quicker
            with os.scandir(here) as entries:
                waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
