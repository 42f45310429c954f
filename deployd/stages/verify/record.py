"""Artifact and runtime -> what an earlier trial of the two found: equal content need not be tried twice."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from deployd.stages.verify.values import Verified

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from deployd.domain.ids import ArtifactName, RuntimeName

FORMAT = 1


def remembered(
    artifacts: Path, artifact: ArtifactName, runtime: RuntimeName, *, paths: Collection[str]
) -> Verified | None:
    """What was found, if all of `paths` were asked then, or if a file was missing: a later trial may have no checkout
    that tells so. A trial whose server did not start for another reason is not remembered.
    """
    try:
        data = json.loads(_file(artifacts, artifact, runtime).read_text())
        found = Verified.from_json(data["verified"]) if data.get("v") == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if found is None or any(finding.error and finding.include for finding in found.findings):
        return found
    return found if set(paths) <= set(found.paths) else None


def remember(artifacts: Path, artifact: ArtifactName, runtime: RuntimeName, verified: Verified) -> None:
    """Keep what was found. One that could not be kept is found again."""
    if not verified.started and not verified.errors:
        return
    file = _file(artifacts, artifact, runtime)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.urandom(4).hex()}")
    aside.write_text(json.dumps({"v": FORMAT, "verified": verified.to_json()}))
    aside.rename(file)


def _file(artifacts: Path, artifact: ArtifactName, runtime: RuntimeName) -> Path:
    return artifacts / "verified" / f"{artifact}-{runtime}.json"
