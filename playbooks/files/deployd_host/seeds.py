"""A release comes in, its own copy of the folders that its server writes over goes out."""

from __future__ import annotations

import os

from deployd_host.files import make_folder, names_in, remove_tree, sync_all, sync_folder
from deployd_host.paths import CODE_SUFFIXES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.places import Place


def seed(place: Place, release: str) -> None:
    """Give the release its own copy of the folders that its server writes over (Next.js 13 and 14 regenerate there).

    The units mount the copy over the folder of the release, so that every path and `require` stays what it was. The
    copy's folders are root's, sticky and open to all, below a folder that only root may enter: the server may write and
    add pages. Code is the release's own, by hard links: not to be written, and, root's in a sticky folder, not to be
    replaced either.
    """
    own = place.release(release) + "/.deployd/seeded"
    names = names_in(own)
    target = f"{place.seeded}/{release}"
    if not names or os.path.isdir(target):
        return
    with place.locked("files"):
        if os.path.isdir(target):
            return
        aside = f"{place.seeded}/.making-{release}"
        remove_tree(aside)
        make_folder(place.seeded, mode=0o700)
        os.mkdir(aside, 0o755)
        for name in names:
            _seed_folder(os.fsencode(os.path.realpath(f"{own}/{name}")), os.fsencode(f"{aside}/{name}"))
        sync_all(aside)
        os.rename(aside, target)
        sync_folder(place.seeded)


def _seed_folder(source: bytes, to: bytes) -> None:
    for folder, folders, names in os.walk(source):
        here = to + folder[len(source) :]
        os.mkdir(here)
        os.chmod(here, 0o1777)  # noqa: S103 - only the release's own processes see it
        for name in names + [one for one in folders if os.path.islink(folder + b"/" + one)]:
            _seed_file(folder + b"/" + name, here + b"/" + name)


def _seed_file(source: bytes, to: bytes) -> None:
    if os.path.islink(source):
        os.symlink(os.readlink(source), to)
        return
    if source.endswith(CODE_SUFFIXES):
        os.link(source, to, follow_symlinks=False)
        return
    fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    new = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        found = os.fstat(fd)
        while os.copy_file_range(fd, new, 1 << 30):
            continue
        os.fchmod(new, 0o666)
        os.utime(new, ns=(found.st_mtime_ns, found.st_mtime_ns))
    finally:
        os.close(fd)
        os.close(new)
