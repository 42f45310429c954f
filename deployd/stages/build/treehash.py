"""SourceTree + Workspace -> a hash of all that the build can see: of a monorepo, without the other apps."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.options import APP_FILE
from deployd.stages.build import workspaces

if TYPE_CHECKING:
    from deployd.domain.stages import SourceTree
    from deployd.stages.build.workspaces import Workspace


def of(source: SourceTree, workspace: Workspace | None) -> str:
    """The tree's own hash, unless other apps lie in it: then a hash of names, kinds and contents of the rest.

    No deployd.toml counts: what of it a build depends on does so by itself.
    """
    if workspace is None or not workspace.others:
        return source.built_hash or source.tree_hash
    top = workspace.root
    without = tuple(top / member.folder for member in workspace.others)
    keep = tuple(top / member.folder for member in (workspace.app, *workspace.needed))
    digest = hashlib.sha256()
    for path in workspaces.files(Path(source.root), without=without, keep=keep):
        name = os.fsencode(path.relative_to(source.root))
        if path.name == APP_FILE:
            continue
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode):
            kind, content = b"link", os.fsencode(path.readlink())
        elif stat.S_ISREG(facts.st_mode):
            with path.open("rb") as opened:
                content = hashlib.file_digest(opened, "sha256").digest()
            kind = b"run" if facts.st_mode & 0o111 else b"file"
        else:
            continue
        digest.update(b"\0".join((kind, name, content)) + b"\n")
    return digest.hexdigest()
