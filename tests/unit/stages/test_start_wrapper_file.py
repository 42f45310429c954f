"""The wrapper's file: read by the sandbox's user too, and never written through a link that a build left."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from deployd.stages.build import wrapper

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_for_all_to_read_and_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("kept")
    app = tmp_path / "app"
    app.mkdir()
    (app / wrapper.NAME).symlink_to(outside)
    before = os.umask(0o077)
    try:
        wrapper.write(app, "server.js")
        wrapper.write(app, "server.js")
    finally:
        os.umask(before)

    made = (app / wrapper.NAME).lstat()
    assert stat.S_ISREG(made.st_mode)
    assert stat.S_IMODE(made.st_mode) == 0o644
    assert outside.read_text() == "kept"
