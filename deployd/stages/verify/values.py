"""What a trial finds, as frozen values that a JSON file keeps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["module", "file", "write", "native", "start", "answer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong. With `error`, it stops a release that is verified strictly; otherwise it is told.

    `include` is what mends a missing file: a route glob and file globs, as `[trace] include` takes them.
    """

    kind: Kind
    what: str
    fix: str
    error: bool = False
    include: tuple[str, tuple[str, ...]] | None = None

    def to_json(self) -> dict[str, Any]:
        """As the record keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Finding:
        """Read what `to_json` wrote."""
        include = data.get("include")
        return cls(**{**data, "include": (include[0], tuple(include[1])) if include else None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """How a trial went: the `paths` that were asked, whether the server `started`, and what was found."""

    paths: tuple[str, ...]
    started: bool
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What stops a release that is verified strictly."""
        return tuple(finding for finding in self.findings if finding.error)

    def to_json(self) -> dict[str, Any]:
        """As the record keeps it."""
        return {
            "paths": list(self.paths),
            "started": self.started,
            "findings": [finding.to_json() for finding in self.findings],
            "seconds": round(self.seconds, 3),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verified:
        """Read what `to_json` wrote."""
        return cls(
            paths=tuple(data["paths"]),
            started=bool(data["started"]),
            findings=tuple(Finding.from_json(one) for one in data["findings"]),
            seconds=float(data["seconds"]),
        )
