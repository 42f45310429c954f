"""The working tree as it is: what is not committed, and a copy of all that git does not ignore."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

from deployd.domain.options import APP_FILE
from deployd.stages.source import git

_NEVER = {".git", "node_modules", ".next"}


def uncommitted(repository: str) -> tuple[str, ...]:
    """The files below `repository`'s folder that differ from the last commit or are new; empty outside of git."""
    folder = Path(repository)
    if not folder.is_dir() or git.top(folder) is None:
        return ()
    listing = git.run("status", "--porcelain=v1", "-z", "--untracked-files=all", "--", ".", cwd=folder).stdout
    names: list[str] = []
    fields = iter(listing.decode(errors="surrogateescape").split("\0"))
    for field in fields:
        if not field:
            continue
        names.append(field[3:])
        if field[0] in "RC":
            next(fields, None)  # the name it had before
    return tuple(names)


def is_own(path: bytes) -> bool:
    """Whether a file is a deployd.toml: no build reads it."""
    return path.rpartition(b"/")[2] == os.fsencode(APP_FILE)


def copy(top: Path, *, into: Path) -> tuple[str, str]:
    """Copy what git tracks or does not ignore below `top`; returns a hash of names, kinds and contents, and the same
    without any deployd.toml.
    """
    digest, built = hashlib.sha256(), hashlib.sha256()
    for name in sorted(_files(top)):
        source, target = top / name, into / name
        if any((into / parent).is_symlink() for parent in Path(name).parents):
            continue  # tracked below a folder that is a link now: the link is what is there
        try:
            facts = source.lstat()
        except FileNotFoundError:
            continue  # deleted, and not committed
        target.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISLNK(facts.st_mode):
            target.symlink_to(source.readlink())
            kind, content = b"link", os.fsencode(source.readlink())
        elif stat.S_ISREG(facts.st_mode):
            shutil.copyfile(source, target)
            target.chmod(0o755 if facts.st_mode & 0o111 else 0o644)
            with target.open("rb") as opened:
                content = hashlib.file_digest(opened, "sha256").digest()
            kind = b"run" if facts.st_mode & 0o111 else b"file"
        else:
            continue
        line = b"\0".join((kind, os.fsencode(name), content)) + b"\n"
        digest.update(line)
        if not is_own(os.fsencode(name)):
            built.update(line)
    return digest.hexdigest(), built.hexdigest()


def _files(top: Path) -> list[str]:
    if git.top(top) is None:
        return _walked(top)
    listing = git.run("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=top).stdout
    found: list[str] = []
    for name in dict.fromkeys(filter(None, listing.decode(errors="surrogateescape").split("\0"))):
        if (top / name).is_dir() and not (top / name).is_symlink():  # a submodule, or a repository inside this one
            found += [f"{name.rstrip('/')}/{inner}" for inner in _files(top / name)]
        else:
            found.append(name)
    return found


def _walked(top: Path) -> list[str]:
    found: list[str] = []
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if name not in _NEVER]
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        found += [os.path.relpath(Path(folder) / name, top) for name in (*files, *links)]
    return found
