"""Artifacts between the state folders of several daemons: a name comes in; it is here, or in the store that they share.

Without such a store an artifact is where it was built, and on the hosts: another daemon fetches it back from one.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from deployd import settings
from deployd.domain.events import Event
from deployd.errors import DeploydError, NotFoundError
from deployd.stages import package

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployd.domain.artifact import Manifest
    from deployd.domain.events import Report
    from deployd.domain.ids import ArtifactName, HostName
    from deployd.hosts.pool import Pool
    from deployd.paths import StatePaths
    from deployd.rollouts.rollout import Rollout
    from deployd.stages.package.depot import Depot
    from deployd.store import Store


def have(
    paths: StatePaths,
    name: ArtifactName,
    *,
    report: Report,
    store: Store | None = None,
    pool_of: Callable[[Sequence[HostName]], Pool] | None = None,
) -> Manifest:
    """An artifact's manifest, with its objects in this state folder. Raises NotFoundError, StorageError.

    What is neither here nor in the shared store is fetched back from a host, where `store` and `pool_of` are given.
    """
    try:
        return package.load(paths.artifacts, name)
    except NotFoundError as error:
        missing = error
    depot = _depot()
    if depot is not None:
        try:
            found = depot.fetch(name, artifacts=paths.artifacts)
        except NotFoundError as error:
            missing = error
        else:
            report(Event.ARTIFACT_FETCHED, artifact=name, files=found.files, size=found.size)
            return package.load(paths.artifacts, name)
    if store is None or pool_of is None:
        raise missing
    from deployd.rollouts import fromhosts

    return fromhosts.fetch(store, name, artifacts=paths.artifacts, pool_of=pool_of, report=report)


def of(rollout: Rollout, name: ArtifactName) -> Manifest:
    """As `have`, for a rollout: hosts that it has nothing to do with may be asked for it too."""
    return have(rollout.paths, name, report=rollout.report, store=rollout.store, pool_of=rollout.pool_of)


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
