"""A file that arrived comes in, a new one of root's goes out if its content has the hash."""

from __future__ import annotations

import os

from deployd_host.files import remove_at
from deployd_host.manifests import shown
from deployd_host.replies import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.manifests import File


def copy_checked(source: bytes, to: bytes, file: File, *, parent: int | None) -> bool:
    """Copy into a new file of root's while hashing it; False if there is no such source.

    `parent` is the open folder of the deploy user's, or None for a file of root's.
    """
    import hashlib
    import stat

    try:
        fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except OSError as error:
        return _no_source(error, source, file, parent)
    new = -1
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or (parent is not None and found.st_nlink != 1):
            raise _mismatch(file, "what arrived is not a plain file", source, parent)
        if found.st_size != file.size:
            raise _mismatch(file, f"it has {found.st_size} bytes instead of {file.size}", source, parent)
        new = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
        digest = hashlib.sha256()
        while chunk := os.read(fd, 1 << 20):
            digest.update(chunk)
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(new, rest) :]
        if digest.hexdigest() != file.sha256:
            raise _mismatch(file, "its content has another hash", source, parent)
        os.fchmod(new, file.key[1])
        os.utime(new, (file.key[2], file.key[2]))
    finally:
        os.close(fd)
        if new >= 0:
            os.close(new)
    return True


def _no_source(error: OSError, source: bytes, file: File, parent: int | None) -> bool:
    import errno

    if error.errno == errno.ELOOP:
        raise _mismatch(file, "what arrived is a link", source, parent) from error
    if error.errno in {errno.ENOENT, errno.ENXIO}:
        return False
    raise error


def _mismatch(file: File, why: str, source: bytes, parent: int | None) -> RefusedError:
    if parent is not None:  # it must be no obstacle: the next transfer brings it again
        remove_at(parent, source)
    return RefusedError(
        "content-mismatch",
        f"{shown(file.path)} did not arrive as it was sent: {why}",
        fix="release again; if it comes back, check the network and this host's disk",
        details={"path": shown(file.path), "sha256": file.sha256},
    )
