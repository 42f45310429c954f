"""A manifest of the build's -> what is in it, or nothing where the build made none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from deployd.errors import PackageError

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path) -> dict[str, Any]:
    """A JSON object; empty when no file is there. Raises PackageError when it is something else."""
    if not path.is_file():  # a pipe would be read for ever
        return {}
    try:
        data = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise PackageError(
            f"{path.name} of the build is no JSON: {error}",
            code="standalone-incomplete",
            fix="build again without the cache: deployd release --no-cache",
        ) from error
    return data if isinstance(data, dict) else {}
