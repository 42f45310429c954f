"""The folder of one app's builds -> a folder for one build, which no other command uses or removes meanwhile.

They have few names (1, 2, ...) and not one for each build: what Next.js builds names its own place, and two builds of
one tree are to be the same. A folder is locked, not a file beside it, until this process ends or lets it go.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_held: dict[Path, int] = {}


def take(state: Path, *, but: Path | None = None) -> Path:
    """An empty folder of one's own below `state`: the first that is free. What lies in `but` is left alone."""
    for number in itertools.count(1):
        folder = state / str(number)
        if folder == but:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        if _lock(folder, fcntl.LOCK_EX):
            _empty(folder)
            return folder
    raise AssertionError  # there is always another number


def read(folder: Path) -> bool:
    """Keep others from emptying a folder; False where one is at it, or it is not there."""
    return folder in _held or _lock(folder, fcntl.LOCK_SH)


def show(folder: Path) -> None:
    """Let others read a folder that was taken; it stays as it is until this process ends."""
    fcntl.flock(_held[folder], fcntl.LOCK_SH)


def own(folder: Path) -> bool:
    """Whether a folder is nobody else's now; it is this process's alone then."""
    if folder not in _held:
        return _lock(folder, fcntl.LOCK_EX)
    try:
        fcntl.flock(_held[folder], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        let_go(folder)
        return False
    return True


def clear(folder: Path) -> None:
    """Empty a folder that was taken, and let it go."""
    _empty(folder)
    let_go(folder)


def let_go(folder: Path) -> None:
    """Let others have a folder."""
    os.close(_held.pop(folder))


def _lock(folder: Path, how: int) -> bool:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    _held[folder] = descriptor
    return True


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
