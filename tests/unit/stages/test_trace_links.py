"""Links in what a build left: those that stay inside travel as links, the others are refused by name."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING, Any

import pytest

from deployd.errors import PackageError
from deployd.stages.trace import tree, why

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.domain.stages import TracedFile


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    return path


def walked(folder: Path) -> dict[str, TracedFile]:
    return {file.path: file for file in tree.walk(folder / "out", at="out", reason="out")}


@pytest.mark.parametrize("links", [{"self": "self"}, {"round": "again", "again": "round"}, {"a": "folder/../a/b"}])
def test_a_folder_with_links_in_a_circle_is_refused_by_name(tmp_path: Path, links: dict[str, str]) -> None:
    write(tmp_path / "out/folder/index.html")
    for name, target in links.items():
        (tmp_path / "out" / name).symlink_to(target)
    with pytest.raises(PackageError, match="circle") as caught:
        walked(tmp_path)
    assert caught.value.code == "symlink-loop"
    assert any(f"'out/{name}'" in caught.value.what for name in links)


def test_a_link_to_a_folder_above_is_no_circle(tmp_path: Path) -> None:
    """Workspaces have them: each package's node_modules leads to the others."""
    write(tmp_path / "out/a/index.html")
    (tmp_path / "out/a/up").symlink_to("../a")
    assert set(walked(tmp_path)) == {"out/a/index.html", "out/a/up"}


def test_an_absolute_link_into_the_own_folder_becomes_relative(tmp_path: Path) -> None:
    write(tmp_path / "out/deep/page.html")
    (tmp_path / "out/deep/inner").mkdir()
    (tmp_path / "out/deep/inner/link.html").symlink_to(tmp_path / "out/deep/page.html")
    files = walked(tmp_path)
    assert files["out/deep/inner/link.html"].symlink == "../page.html"
    (tmp_path / "out/beside").symlink_to(tmp_path)
    with pytest.raises(PackageError) as caught:
        walked(tmp_path)
    assert caught.value.code == "symlink-escapes"


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "out/shut/page.html")
    scandir = os.scandir

    def refusing(folder: str) -> Any:
        if str(folder).endswith("shut"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(tree.os, "scandir", refusing)
    with pytest.raises(PackageError, match="'out/shut' could not be read: Permission denied"):
        walked(tmp_path)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("again")
    (tmp_path / "again").symlink_to("round")
    root = tree.Root(tmp_path)
    assert [file.path for file in root.take("round", reasons=())] == ["round"]
    with pytest.raises(PackageError) as caught:
        root.take("round/x.js", reasons=())
    assert caught.value.code == "symlink-loop"


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_refused_by_name(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "out/index.html")
    monkeypatch.chdir(tmp_path / "out")
    if kind == "pipe":
        os.mkfifo("odd")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("odd")
    elif os.geteuid() == 0:
        os.mknod("odd", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    else:
        os.mkfifo("odd")
    with pytest.raises(PackageError, match="'out/odd' is neither") as caught:
        walked(tmp_path)
    assert caught.value.code == "file-kind-refused"


def test_the_way_to_a_file_leads_through_what_travels() -> None:
    parents = {
        "react.js": ("dev.js", "render.js"),
        "dev.js": ("next.js",),
        "render.js": ("base.js",),
        "base.js": ("next.js",),
    }
    travels = {"react.js", "render.js", "base.js", "next.js"}
    way = why._travelling("react.js", parents, travels=travels, stop=("next.js",))
    assert way == ("next.js", "base.js", "render.js", "react.js")
    assert why._travelling("react.js", parents, travels={"react.js"}, stop=("next.js",)) == (
        "next.js",
        "dev.js",
        "react.js",
    )
