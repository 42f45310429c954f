"""FileSet + a folder of the app -> FileSet with the pages that the web server gives when the app cannot answer.

They lie in the artifact's `.error-pages/`: `502.html` for one status, `error.html` for all that have none of their own.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.stages import TracedFile
from deployd.errors import PackageError

if TYPE_CHECKING:
    from deployd.domain.stages import BuildOutput, FileSet

FOLDER = ".error-pages"
_NAME = re.compile(r"(?:[45][0-9]{2}|error)\.html")


def add(files: FileSet, output: BuildOutput, *, folder: str | None) -> FileSet:
    """Take the pages along; raises PackageError when the folder has none."""
    if folder is None:
        return files
    here = (Path(output.app_dir) / folder).resolve()
    inside = here.is_relative_to(Path(output.root).resolve())
    pages = sorted(path for path in here.glob("*.html") if _NAME.fullmatch(path.name)) if inside else []
    if not pages:
        raise PackageError(
            f"there are no error pages in {folder!r}",
            code="error-pages-missing",
            fix="put pages such as 502.html, 503.html or error.html there, or take `error_pages` out of deployd.toml",
        )
    made = tuple(
        TracedFile(path=f"{FOLDER}/{page.name}", source=str(page), size=page.stat().st_size, reasons=("error_pages",))
        for page in pages
    )
    return replace(files, files=tuple(sorted((*files.files, *made), key=lambda file: file.path)))
