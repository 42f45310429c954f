"""What root leaves in another user's state folder becomes that user's; and where the key of the secrets is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from deployd.domain.secret import Secret
from deployd.paths import StatePaths
from deployd.store.keyring import Keyring

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

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


def test_systemd_may_give_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential of the service takes the place of the file in the state folder; without one the file stays."""
    paths = StatePaths(tmp_path / "state").make()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert paths.key == paths.root / "key"
    (tmp_path / "deployd-key").write_text("ab" * 32)
    (tmp_path / "deployd-key").chmod(0o400)
    sealed = Keyring(paths.key).seal(Secret("value"), belongs_to="x")
    assert (
        Keyring(tmp_path / "deployd-key").open(sealed, belongs_to="x", key_id=Keyring(paths.key).key_id).reveal()
        == "value"
    )
    assert not (paths.root / "key").exists()
