"""An artifact to every host of a rollout: what was made comes in, sealed releases on all hosts go out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.domain.ids import ArtifactName, ReleaseId
from deployd.rollouts import assets, fleet, making, sharing, values
from deployd.stages import ship

if TYPE_CHECKING:
    import threading

    from deployd.hosts.helper import Helper
    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.values import Json


def ship_to_all(rollout: Rollout, made: Json) -> Json:
    """Bring the release to every host; each seals it. Nothing that is live is touched."""
    fleet.hold(rollout)
    release = ReleaseId(made["release"])
    name = ArtifactName(made["artifact"])
    manifest = sharing.of(rollout, name)
    shared = sharing.Sharing(rollout, name)
    sending = assets.Sending(rollout, release, manifest)
    runtime = making.runtime_here(rollout, values.runtime(made["runtime"]))
    provenance = rollout.store.releases.provenance(release)
    packed = ship.pack(manifest, runtime.name)

    def one(helper: Helper, stop: threading.Event) -> ship.Shipped:
        return ship.ship(
            rollout.pool,
            helper.name,
            app=rollout.app,
            environment=rollout.environment,
            release=release,
            manifest=manifest,
            provenance=provenance,
            runtime=runtime,
            artifacts=rollout.paths.artifacts,
            packed=packed,
            report=rollout.report,
            cancel=stop,
        )

    try:
        shipped = fleet.each(rollout, one)
        sending.wait()
    finally:
        sending.end()
    shared.wait()
    return {"bytes_sent": sum(one.bytes_sent for one in shipped.values())}
