"""A finished build and its artifact -> what the artifact weighs beside `node_modules` and what the build wrote."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.quantity import format_size

if TYPE_CHECKING:
    from deployd.domain.artifact import Artifact
    from deployd.domain.stages import BuildOutput


def told(artifact: Artifact, output: BuildOutput) -> str:
    """One line for people; call it while the installed packages are still in the checkout."""
    app_dir, root = Path(output.app_dir), Path(output.root)
    whole = sum(_bytes(folder) for folder in {root / "node_modules", app_dir / "node_modules"})
    if output.folder not in ("", "."):
        whole += _bytes(app_dir / output.folder)
    share = f", {artifact.size / whole:.0%} of it" if whole else ""
    return (
        f"artifact {format_size(artifact.size)} in {artifact.files:,} files; node_modules and {output.folder or 'the app'} "
        f"{format_size(whole)}{share}"
    )


def _bytes(folder: Path) -> int:
    seen, total = set[int](), 0
    for here, _, files in os.walk(folder):
        for name in files:
            info = os.lstat(f"{here}/{name}")
            if info.st_ino not in seen:
                seen.add(info.st_ino)
                total += info.st_size
    return total
