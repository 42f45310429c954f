"""app folder -> Detected: what the app is made with, read from package.json and configuration files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deployd.errors import BuildError

Framework = Literal["nextjs", "node", "static"]
_OLDEST_NEXT = (13, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """What an app is. `version` is the range in package.json; `name` its name there; `health` a likely probe path."""

    framework: Framework
    version: str | None
    name: str | None
    health: str | None
    package: dict[str, Any]


def read_package(app_dir: Path) -> dict[str, Any]:
    """package.json of a folder; raises BuildError when it is missing or no JSON object."""
    path = app_dir / "package.json"
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise BuildError(
            f"there is no package.json in {app_dir.name or app_dir}",
            code="package-json-missing",
            fix="run this in the app's folder, or set the app's folder with -C",
        ) from error
    except ValueError as error:
        raise BuildError(
            f"package.json is no JSON: {error}", code="package-json-invalid", fix="mend package.json"
        ) from error
    if not isinstance(data, dict):
        raise BuildError("package.json is no JSON object", code="package-json-invalid", fix="mend package.json")
    return data


def detect(app_dir: Path) -> Detected:
    """Look at an app's folder; raises BuildError when nothing can be built there."""
    package = read_package(app_dir)
    needs = {**package.get("devDependencies", {}), **package.get("dependencies", {})}
    name = package.get("name") if isinstance(package.get("name"), str) else None
    if "next" in needs:
        return Detected(
            framework="nextjs", version=str(needs["next"]), name=name, health=_health(app_dir), package=package
        )
    return Detected(framework="node", version=None, name=name, health=None, package=package)


def _health(app_dir: Path) -> str | None:
    for base in (app_dir / "app", app_dir / "src" / "app", app_dir / "pages", app_dir / "src" / "pages"):
        for place in ("health", "healthz", "api/health", "api/healthz", "up"):
            if any((base / place).glob("route.*")) or any((base / place).parent.glob(f"{Path(place).name}.[jt]s*")):
                return f"/{place}"
    return None


def installed_next(app_dir: Path, root: Path) -> tuple[int, ...] | None:
    """The version of the Next.js that was installed for an app, or None."""
    folder = app_dir
    while True:
        path = folder / "node_modules" / "next" / "package.json"
        if path.is_file():
            text = str(json.loads(path.read_text()).get("version", "0"))
            return tuple(int(part) for part in text.split("-", maxsplit=1)[0].split(".")[:3] if part.isdigit())
        if folder in (root, folder.parent):
            return None
        folder = folder.parent


def lockfiles_above(root: Path) -> list[Path]:
    """Lock files in the folders above a checkout: Next.js takes the topmost one's folder for the app's root."""
    return [
        folder / name
        for folder in root.parents
        for name in ("package-lock.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock", "bun.lockb", "pnpm-workspace.yaml")
        if (folder / name).exists()
    ]


def check_next(version: tuple[int, ...] | None) -> None:
    """Raise BuildError for a Next.js that cannot be built standalone from outside."""
    if version is not None and version[:2] < _OLDEST_NEXT:
        shown = ".".join(map(str, version))
        raise BuildError(
            f"Next.js {shown} is older than deployd supports",
            code="next-unsupported",
            fix="use Next.js 13.5 or later: 13.5, 14.2, 15.5 and 16 were tried",
        )
