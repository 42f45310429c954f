"""A full disk comes in, room to go back goes out: a file beside the database holds some, and is given up for a write.

What a rollback keeps is little, and it must not wait for somebody who makes room. The file is made again at the next
start that finds enough.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 8 << 20
_FULL = 1 << 20  # bytes; the log of the database grows by some of them at once
_ENOUGH = 256 << 20


def keep(database: Path) -> None:
    """Have the file, if there is room enough."""
    file = _beside(database)
    if file.exists() or _free(database) < _ENOUGH:
        return
    with suppress(OSError):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(opened, 0, SIZE)
        finally:
            os.close(opened)


def give_up(database: Path) -> None:
    """Give its room up if nothing else is free."""
    if _free(database) < _FULL:
        _beside(database).unlink(missing_ok=True)


def is_full(database: Path) -> bool:
    """Whether the disk has no room: SQLite says then of some files that they cannot be opened, or "disk I/O error"."""
    return _free(database) < _FULL


def _free(database: Path) -> int:
    """Bytes; 0 when no further file can be made."""
    try:
        disk = os.statvfs(database.parent)
    except OSError:
        return _ENOUGH
    return 0 if disk.f_files and not disk.f_favail else disk.f_bavail * disk.f_frsize


def _beside(database: Path) -> Path:
    return database.with_name(".reserve")
