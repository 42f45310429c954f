"""Artifacts between the state folders of several daemons: a name comes in; it is here, or in the store that they share.

Without such a store an artifact is where it was built, and another daemon builds it again when it needs it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from deployd import settings
from deployd.domain.events import Event
from deployd.errors import DeploydError, NotFoundError
from deployd.stages import package

if TYPE_CHECKING:
    from deployd.domain.artifact import Manifest
    from deployd.domain.events import Report
    from deployd.domain.ids import ArtifactName
    from deployd.paths import StatePaths
    from deployd.rollouts.rollout import Rollout
    from deployd.stages.package.depot import Depot


def have(paths: StatePaths, name: ArtifactName, *, report: Report) -> Manifest:
    """An artifact's manifest, with its objects in this state folder. Raises NotFoundError, StorageError."""
    try:
        return package.load(paths.artifacts, name)
    except NotFoundError:
        depot = _depot()
        if depot is None:
            raise
    found = depot.fetch(name, artifacts=paths.artifacts)
    report(Event.ARTIFACT_FETCHED, artifact=name, files=found.files, size=found.size)
    return package.load(paths.artifacts, name)


class Sharing:
    """Brings an artifact into the shared store in the background; a failure is a warning: it is live all the same."""

    def __init__(self, rollout: Rollout, name: ArtifactName) -> None:
        self._rollout = rollout
        self._name = name
        self._thread: threading.Thread | None = None
        depot = _depot()
        if depot is not None:
            self._thread = threading.Thread(target=self._share, args=(depot,), daemon=True, name="sharing")
            self._thread.start()

    def wait(self) -> None:
        """Until it is there."""
        if self._thread:
            self._thread.join()

    def _share(self, depot: Depot) -> None:
        try:
            depot.keep(self._name, artifacts=self._rollout.paths.artifacts)
        except DeploydError as error:
            self._rollout.report(
                Event.WARNING,
                what=f"artifact {self._name} is not in the store of all daemons: {error.what}",
                code=error.code,
                fix=error.fix,
            )


def _depot() -> Depot | None:
    chosen = settings.artifact_store()
    if chosen is None:
        return None
    from deployd.stages.package.depot import Depot

    return Depot(chosen.url, endpoint=chosen.endpoint, region=chosen.region)
