"""A release's hashed assets come in, `static/` with those of all kept releases goes out."""

from __future__ import annotations

import os

from deployd_host.files import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.manifests import Layout
    from deployd_host.places import Place


def add_to_union(place: Place, release: str, layout: Layout) -> None:
    """Hard-link the hashed assets into `static/`, where they stay as long as a kept release has them."""
    static = os.fsencode(place.static)
    root = os.fsencode(place.release(release))
    made: set[bytes] = set()
    for prefix, folder in layout.assets.items():
        base = static + os.fsencode("" if prefix == "/" else prefix)
        for file in layout.files:
            if not file.path.startswith(folder + b"/"):
                continue
            source, to = root + b"/" + file.path, base + file.path[len(folder) :]
            parent = to.rpartition(b"/")[0]
            if parent not in made:
                _make_union_folder(static, parent)
                made.add(parent)
            _put_into_union(source, to)


def _make_union_folder(static: bytes, path: bytes) -> None:
    """A folder in the union; a file that an older release had there gives way."""
    import stat

    at = static
    for part in path[len(static) :].strip(b"/").split(b"/"):
        at += b"/" + part
        try:
            if not stat.S_ISDIR(os.lstat(at).st_mode):
                os.unlink(at)
                os.mkdir(at, 0o755)
        except FileNotFoundError:
            os.mkdir(at, 0o755)


def _put_into_union(source: bytes, to: bytes) -> None:
    """The newest release wins; the same file again changes nothing (rename would then leave the name aside behind)."""
    import stat

    here = os.lstat(source)
    try:
        there = os.lstat(to)
    except FileNotFoundError:
        os.link(source, to, follow_symlinks=False)
        return
    if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
        return
    if stat.S_ISDIR(there.st_mode):
        remove_tree(to)
    aside = to.rpartition(b"/")[0] + b"/.union-aside"
    remove_tree(aside)
    os.link(source, aside, follow_symlinks=False)
    os.rename(aside, to)


def sweep_union(static: str) -> int:
    """Remove the union's files that no kept release has; returns the bytes set free."""
    freed = 0
    for folder, _, names in os.walk(os.fsencode(static), topdown=False):
        left = len(os.listdir(folder))
        for name in names:
            path = folder + b"/" + name
            found = os.lstat(path)
            if found.st_nlink == 1:
                os.unlink(path)
                freed += found.st_blocks * 512
                left -= 1
        if not left and folder != os.fsencode(static):
            os.rmdir(folder)
    return freed
