"""What a build left, as a value: how it is run or served, and from which of its files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from deployd.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deployd.domain.artifact import StaticSite


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """The fields of BuildOutput that are known only after the build, and what a person should know about them."""

    kind: Literal["next", "node", "static"]
    folder: str
    entries: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    static: StaticSite | None = None
    base: str = ""
    assets: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def fields(self) -> dict[str, Any]:
        """What goes into the BuildOutput."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "warnings"}


def missing(what: str, *, looked_at: tuple[str, ...], key: str, log: Path) -> BuildError:
    """The error for a build that ended well without what was looked for; `key` of deployd.toml names it."""
    looked = ", ".join(looked_at)
    return BuildError(
        f"{what}; looked at: {looked}" if looked else what,
        code="build-output-missing",
        fix=f"name it with {key} in deployd.toml, or see in {log} what the build wrote",
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of the build's; empty when it is not there or something else (a pipe would be read for ever)."""
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(errors="replace"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
