"""app folder -> its package.json, and the few things that are asked of it again and again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from deployd.errors import BuildError

if TYPE_CHECKING:
    from pathlib import Path


def read(app_dir: Path) -> dict[str, Any]:
    """package.json of a folder; raises BuildError that names its path when it is missing or no JSON object."""
    path = app_dir / "package.json"
    if path.exists() and not path.is_file():  # a pipe would be read for ever
        raise _invalid(path, "is no file", fix="make package.json a plain file")
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BuildError(
            f"there is no package.json in {app_dir}",
            code="package-json-missing",
            fix="run this in the app's folder, or set the app's folder with -C",
        ) from error
    except OSError as error:  # a link that leads to itself, say
        raise _invalid(path, f"cannot be read: {error.strerror}", fix="make package.json a plain file") from error
    except UnicodeDecodeError as error:
        raise _invalid(path, f"is not UTF-8 (byte {error.start})", fix="save package.json as UTF-8") from error
    except ValueError as error:
        raise _invalid(
            path, f"is no JSON: {error}", fix="mend package.json, and run `npm pkg get name` to see"
        ) from error
    except RecursionError:
        raise _invalid(path, "is no JSON: it is nested too deeply", fix="mend package.json") from None
    if not isinstance(data, dict):
        raise _invalid(path, "is no JSON object", fix="mend package.json: it begins with { and ends with }")
    return data


def _invalid(path: Path, why: str, *, fix: str) -> BuildError:
    return BuildError(f"{path} {why}", code="package-json-invalid", fix=fix)


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
