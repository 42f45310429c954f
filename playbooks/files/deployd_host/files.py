"""Content comes in, files of root's go out: each is written aside, synced and renamed, and no link is followed."""

from __future__ import annotations

import os

from deployd_host.paths import BASE, FAKE_DISK_FREE, RUN
from deployd_host.replies import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def sync_folder(path: str | bytes) -> None:
    """Make a rename or a new name in this folder last."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_all(path: str | bytes) -> None:
    """Make everything last that was written to this folder's file system."""
    import ctypes

    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(fd)


def write_file(path: str, text: str | bytes, *, mode: int = 0o644) -> bool:
    """Replace a file of root's as a whole; False if it has this content already."""
    data = text.encode() if isinstance(text, str) else text
    if read_bytes(path) == data and os.stat(path).st_mode & 0o7777 == mode:
        return False
    folder, name = os.path.split(path)
    aside = f"{folder}/.{name}.{os.getpid()}"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fchmod(fd, mode)
        os.fsync(fd)
    except OSError:
        os.unlink(aside)
        raise
    finally:
        os.close(fd)
    os.rename(aside, path)
    sync_folder(folder)
    return True


def read_bytes(path: str) -> bytes | None:
    """A file's content, or None when there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        parts = []
        while part := os.read(fd, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    except OSError:
        return None
    finally:
        os.close(fd)


def read_json(path: str) -> Any:
    """A JSON file that root wrote, or None."""
    import json

    data = read_bytes(path)
    try:
        return None if data is None else json.loads(data)
    except ValueError:
        return None


def to_json(value: object) -> str:
    """JSON as it is kept on disk."""
    import json

    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def make_folder(path: str, *, mode: int = 0o755) -> None:
    """A folder of root's and its parents."""
    os.makedirs(path, exist_ok=True)
    if os.stat(path).st_mode & 0o7777 != mode:
        os.chmod(path, mode)


def names_in(path: str) -> list[str]:
    """The names in a folder, sorted; none when there is no such folder."""
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def remove_tree(path: str | bytes) -> int:
    """Remove a folder with all that is in it, or a link, without following links; returns the bytes set free."""
    folder, name = os.path.split(path)
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return 0
    try:
        return remove_at(fd, os.fsencode(name))
    finally:
        os.close(fd)


def remove_at(parent: int, name: bytes) -> int:
    """The same for a name in an open folder."""
    import stat

    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return 0
    if not stat.S_ISDIR(found.st_mode):
        _unlink_at(parent, name)
        return found.st_blocks * 512 if found.st_nlink == 1 else 0
    freed = 0
    for _ in range(5):  # its owner may still be writing into it
        try:
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        except (FileNotFoundError, NotADirectoryError):
            break
        try:
            for child in os.listdir(fd):
                freed += remove_at(fd, os.fsencode(child))
        finally:
            os.close(fd)
        try:
            os.rmdir(name, dir_fd=parent)
            break
        except FileNotFoundError:
            break
        except OSError:
            continue
    return freed


def _unlink_at(parent: int, name: bytes) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return


def disk_free(path: str = BASE) -> tuple[int, int | None]:
    """Free bytes for anybody, and free inodes (None where the file system does not count them)."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    found = os.statvfs(path)
    free = int(FAKE_DISK_FREE) if FAKE_DISK_FREE else found.f_bavail * found.f_frsize
    return free, found.f_favail if found.f_files else None


def _is_full(path: str) -> bool:
    free, inodes = disk_free(path)
    return free < 64 * 1024 or inodes == 0


def disk_full(needed: int) -> RefusedError:
    """The refusal when something does not fit. With nothing `needed`, the place that is full may be another one."""
    free, _ = disk_free()
    elsewhere = [] if needed or _is_full(BASE) else [place for place in (RUN, "/var") if _is_full(place)]
    if elsewhere:
        return RefusedError(
            "disk-full",
            f"no room is left in {elsewhere[0]} on the host",
            fix=f"see what takes it there: df -h {elsewhere[0]}; df -i {elsewhere[0]}",
            details={"needed": needed, "free": disk_free(elsewhere[0])[0]},
        )
    more = f"; {needed // 1_000_000 + 1} MB are needed" if needed else ""
    return RefusedError(
        "disk-full",
        f"the host's disk is full: {free // 1_000_000} MB are free{more}",
        fix="make room on the host: `deployd prune` removes releases that are not kept",
        details={"needed": needed, "free": free},
    )


def read_proc(path: str) -> str:
    """What the kernel says of a process; "" when it is gone."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
