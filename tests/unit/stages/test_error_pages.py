"""A folder of error pages -> what travels of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from deployd.domain.ids import BuildId
from deployd.domain.stages import BuildOutput, BuildPlan, FileSet, TracedFile
from deployd.errors import PackageError
from deployd.stages.trace import errorpages

if TYPE_CHECKING:
    from pathlib import Path

PLAN = BuildPlan(
    framework="node", framework_version=None, manager="npm", manager_version=None, install=(), command=(), node="22.23.3",
    lockfile="", lockfile_sha256="", build_id=BuildId("b" + "0" * 20),
)  # fmt: skip


def test_pages_go_where_the_web_server_looks(tmp_path: Path) -> None:
    app = tmp_path / "apps/web"
    (app / "errors").mkdir(parents=True)
    for name in ("502.html", "error.html", "notes.txt", "other.html", "200.html", "5020.html"):
        (app / "errors" / name).write_text(name)
    output = BuildOutput(root=str(tmp_path), app_dir=str(app), plan=PLAN, built=1, log="", seconds=0.0)
    files = FileSet(root=str(tmp_path), entry="a.js", files=(TracedFile(path="a.js", source="a.js", size=1),))

    made = errorpages.add(files, output, folder="errors")

    assert [file.path for file in made.files] == [".error-pages/502.html", ".error-pages/error.html", "a.js"]
    assert errorpages.add(files, output, folder=None) is files
    assert replace(made, files=files.files) == files
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "502.html").touch()
    for wrong in ("nothing", f"../../../{outside.name}", "."):
        with pytest.raises(PackageError) as told:
            errorpages.add(files, output, folder=wrong)
        assert told.value.code == "error-pages-missing"
