"""Removing what a build left, as root and as the user that a hardened deployd is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deployd.domain.stages import SourceRequest
from deployd.errors import SourceError
from deployd.stages import source

NOBODY = 65534


def left(folder: Path) -> Path:
    """What a hostile build leaves: folders that nobody may enter, and a link to what is not the checkout's."""
    (folder / "checkout" / "a" / "b").mkdir(parents=True)
    (folder / "checkout" / "a" / "b" / "file").write_text("x")
    (folder / "kept").mkdir()
    (folder / "kept" / "file").write_text("x")
    (folder / "checkout" / "a" / "link").symlink_to(folder / "kept")
    return folder / "checkout"


def shut(checkout: Path) -> None:
    for name in ("a/b", "a", "."):
        (checkout / name).chmod(0)


def test_shut_folders_are_removed_and_links_left_alone(tmp_path: Path) -> None:
    checkout = left(tmp_path)
    shut(checkout)

    source.remove(checkout)
    source.remove(checkout)  # nothing there

    assert not checkout.exists()
    assert (tmp_path / "kept" / "file").read_text() == "x"


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_a_user_without_rights_removes_its_own_shut_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = left(tmp_path)
    monkeypatch.chdir(tmp_path)  # whose parents that user may not enter
    for own in (tmp_path, tmp_path / "kept"):
        os.chown(own, NOBODY, NOBODY)
    for here, folders, files in os.walk(checkout):
        for name in (".", *folders, *files):
            os.chown(f"{here}/{name}", NOBODY, NOBODY, follow_symlinks=False)
    shut(checkout)

    child = os.fork()
    if child == 0:
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            source.remove(Path("checkout"))
            os._exit(0)
        except BaseException:  # noqa: BLE001 - it must not come back into pytest
            os._exit(4)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not checkout.exists()
    assert (tmp_path / "kept" / "file").exists()


def test_nothing_is_checked_out_over_what_an_earlier_build_left(tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "left.js").write_text("x")

    with pytest.raises(SourceError) as caught:
        source.checkout(
            SourceRequest(repository=str(tmp_path), dirty=True), mirrors=tmp_path / "mirrors", into=tmp_path / "into"
        )

    assert caught.value.code == "checkout-not-removed"
    assert (tmp_path / "into" / "left.js").exists()
