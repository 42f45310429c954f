"""A finished Next.js build -> NextApp: its folders, its place below the root, its configuration and version."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd.errors import PackageError
from deployd.stages.trace import manifests, programs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.domain.stages import BuildOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class NextApp:
    """`folder` is the distDir relative to `app_dir`; `place` is `app_dir` relative to `root`, the root of tracing.

    `built_place` is the place that the build itself had in mind: the standalone tree is laid out so.
    """

    app_dir: Path
    folder: str
    root: Path
    place: str
    built_place: str
    config: Mapping[str, Any]
    major: int

    @property
    def dist(self) -> Path:
        """The distDir."""
        return self.app_dir / self.folder

    def at(self, path: str) -> str:
        """The place of a path of the app's folder; a distDir may lie beside it (`../../dist/apps/web/.next`)."""
        clean = os.path.normpath(join(self.place, path))
        return f"{clean}/" if path.endswith("/") else clean

    def in_dist(self, path: str) -> str:
        """The place of a path of the distDir."""
        return self.at(f"{self.folder}/{path}")


def read(output: BuildOutput, *, root: str | None = None) -> NextApp:
    """Read what the build says of itself. `root` (relative to the repository) is the wish of deployd.toml.

    Raises PackageError when the build left nothing to read, or the root does not hold the app.
    """
    app_dir = Path(output.app_dir)
    folder = os.path.normpath(output.folder)
    required = manifests.read(app_dir / folder / "required-server-files.json")
    if not required:
        raise PackageError(
            "the build left no required-server-files.json",
            code="standalone-incomplete",
            fix="does the build command run `next build`? Try it again without the cache: deployd release --no-cache",
        )
    built_place = str(required.get("relativeAppDir") or "").strip("/")
    top = app_dir.parents[len(Path(built_place).parts) - 1] if built_place else app_dir
    if root is not None:
        top = inside(Path(output.root) / root, app_dir=app_dir)
    place = os.path.relpath(app_dir, top)
    return NextApp(
        app_dir=app_dir,
        folder=folder,
        root=top,
        place="" if place == "." else place,
        built_place=built_place,
        config=required.get("config") or {},
        major=_major(
            (app_dir, top),
            (app_dir / folder / "standalone" / built_place, app_dir / folder / "standalone"),
            planned=output.plan.framework_version,
        ),
    )


def inside(root: Path, *, app_dir: Path) -> Path:
    """The root of tracing, if it holds the app; raises PackageError."""
    root = Path(os.path.normpath(root))
    if not root.is_dir() or not app_dir.is_relative_to(root):
        raise PackageError(
            f"the root of tracing, {root}, is no folder above the app {app_dir}",
            code="trace-root",
            fix='trace.root in deployd.toml is relative to the repository: "." is its top',
        )
    return root


def join(place: str, path: str) -> str:
    """A path below a place, which may be empty."""
    return f"{place}/{path}" if place else path


def _major(*places: tuple[Path, Path], planned: str | None) -> int:
    """Of the Next.js that is installed in one of `places` (an app's folder, and the root above it)."""
    found = (programs.of_app("next", app_dir=app_dir, root=root) for app_dir, root in places)
    package = next((one for one in found if one), None)
    told = str(manifests.read(package / "package.json").get("version") or "") if package else ""
    digits = (told or (planned or "")).lstrip("^~>=v ").partition(".")[0]
    return int(digits) if digits.isdigit() else 0
