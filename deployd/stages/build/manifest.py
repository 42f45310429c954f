"""app folder -> its package.json, and the few things that are asked of it again and again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from deployd.errors import BuildError

if TYPE_CHECKING:
    from pathlib import Path


def read(app_dir: Path) -> dict[str, Any]:
    """package.json of a folder; raises BuildError when it is missing or no JSON object."""
    path = app_dir / "package.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BuildError(
            f"there is no package.json in {app_dir.name or app_dir}",
            code="package-json-missing",
            fix="run this in the app's folder, or set the app's folder with -C",
        ) from error
    except OSError as error:  # a link that leads to itself, say
        raise BuildError(
            f"package.json cannot be read: {error.strerror}",
            code="package-json-invalid",
            fix="make package.json a plain file",
        ) from error
    except ValueError as error:
        raise BuildError(
            f"package.json is no JSON: {error}", code="package-json-invalid", fix="mend package.json"
        ) from error
    if not isinstance(data, dict):
        raise BuildError("package.json is no JSON object", code="package-json-invalid", fix="mend package.json")
    return data


def scripts(package: dict[str, Any]) -> dict[str, str]:
    """The scripts that are text and say something."""
    found = package.get("scripts")
    if not isinstance(found, dict):
        return {}
    return {str(name): text for name, text in found.items() if isinstance(text, str) and text.strip()}


def needs(package: dict[str, Any]) -> dict[str, str]:
    """What the app asks for: name -> range, those for run time above those for development."""
    found: dict[str, str] = {}
    for kind in ("optionalDependencies", "devDependencies", "dependencies"):
        table = package.get(kind)
        if isinstance(table, dict):
            found |= {str(name): str(wish) for name, wish in table.items()}
    return found
