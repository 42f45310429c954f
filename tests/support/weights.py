"""A finished build and its artifact -> what the artifact weighs beside `node_modules` and what the build wrote."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd.domain.quantity import format_size

if TYPE_CHECKING:
    from deployd.domain.artifact import Artifact
    from deployd.domain.stages import BuildOutput


LINES: list[str] = []


def note(name: str, artifact: Artifact, output: BuildOutput) -> None:
    """Remember what an app of the tests weighs, for the end of the run."""
    if _whole(output) > 1_000_000:
        LINES.append(f"{name} ({output.plan.framework}): {told(artifact, output)}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what every app of the tests weighs. A conftest that imports this hook has it."""
    if LINES:
        terminalreporter.section("artifacts")
        for line in sorted(LINES):
            terminalreporter.write_line(line)


def told(artifact: Artifact, output: BuildOutput) -> str:
    """One line for people; call it while the installed packages are still in the checkout."""
    whole = _whole(output)
    share = f", {artifact.size / whole:.0%} of it" if whole else ""
    return (
        f"artifact {format_size(artifact.size)} in {artifact.files:,} files; node_modules and {output.folder or 'the app'} "
        f"{format_size(whole)}{share}"
    )


def _whole(output: BuildOutput) -> int:
    app_dir, root = Path(output.app_dir), Path(output.root)
    whole = sum(_bytes(folder) for folder in {root / "node_modules", app_dir / "node_modules"})
    return whole + (_bytes(app_dir / output.folder) if output.folder not in ("", ".") else 0)


def _bytes(folder: Path) -> int:
    seen, total = set[int](), 0
    for here, _, files in os.walk(folder):
        for name in files:
            info = os.lstat(f"{here}/{name}")
            if info.st_ino not in seen:
                seen.add(info.st_ino)
                total += info.st_size
    return total
