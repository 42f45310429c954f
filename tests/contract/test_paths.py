"""What root leaves in another user's state folder belongs to that user afterwards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from deployd.paths import StatePaths

if TYPE_CHECKING:
    from pathlib import Path

OWNER, BUILDER = 65534, 65533


def test_what_root_made_is_handed_over(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path / "state").make()
    (paths.logs / "r-1.log").write_text("x")
    (paths.root / "link").symlink_to("/etc/passwd")
    (paths.caches / "of-a-build").mkdir()
    os.chown(paths.caches / "of-a-build", BUILDER, BUILDER)
    paths.hand_over()
    assert (paths.logs / "r-1.log").stat().st_uid == 0  # root's own folder stays root's
    os.chown(paths.root, OWNER, OWNER)
    paths.hand_over()
    assert {
        path.lstat().st_uid for path in (paths.lock.parent, paths.logs, paths.logs / "r-1.log", paths.root / "link")
    } == {OWNER}
    assert (paths.caches / "of-a-build").stat().st_uid == BUILDER
    assert (tmp_path / "state").parent.stat().st_uid == 0
