"""A packaged release -> tried alone on this machine before anything travels, once for each artifact and runtime.

What is missing in it is an error (`verify` strict), or is told. Equal artifacts are not tried again: what was found the
first time is kept beside them, bad or good, because the checkout that tells what is missing is only there once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.events import Event
from deployd.domain.ids import ArtifactName, ReleaseId
from deployd.rollouts import making, sharedcache, sharing, values
from deployd.rollouts.wishes import ReleaseWish
from deployd.stages import source as source_stage
from deployd.stages import verify as verify_stage

if TYPE_CHECKING:
    from deployd.domain.artifact import Manifest, Runtime
    from deployd.domain.options import Verify
    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.values import Json
    from deployd.stages.verify import Finding, Verified


def verify(rollout: Rollout, made: Json, built: Json | None, fleet_kind: Json) -> Json:
    """Try a release's artifact alone. Raises PackageError when something is missing and `verify` is strict.

    Its installed packages are kept for the next build afterwards, and whatever was found: until then they say what
    could have come along.
    """
    output = built["output"] if built else None
    try:
        return _verify(rollout, made, output, fleet_kind)
    finally:
        if output is not None:
            making.keep_install(rollout, output)


def _verify(rollout: Rollout, made: Json, output: Json | None, fleet_kind: Json) -> Json:
    options = rollout.options.verify
    if options.mode == "off":
        return {"verified": None}
    artifact, runtime = ArtifactName(made["artifact"]), values.runtime(made["runtime"])
    manifest = sharing.of(rollout, artifact)
    fleet = verify_stage.Fleet(
        cpu=fleet_kind["cpu"], libc=fleet_kind["libc"], libc_version=fleet_kind.get("libc_version", "")
    )
    natives = verify_stage.check_natives(manifest, artifacts=rollout.paths.artifacts, fleet=fleet)
    paths = list(dict.fromkeys([rollout.options.probe.path, *options.paths]))
    fresh = isinstance(rollout.wish, ReleaseWish) and not rollout.wish.use_cache
    where = rollout.paths.artifacts
    known = None if fresh else verify_stage.remembered(where, artifact, runtime.name, paths=paths)
    found = known or _try(rollout, made, manifest=manifest, runtime=runtime, output=output)
    if known is None:
        verify_stage.remember(where, artifact, runtime.name, found)
    findings = (*natives, *found.findings)
    rollout.report(
        Event.ARTIFACT_VERIFIED,
        artifact=artifact,
        paths=len(found.paths),
        seconds=round(found.seconds, 3),
        started=found.started,
        again=known is not None,
        findings=len(findings),
    )
    _judge(rollout, options, findings)
    return {"verified": {"paths": len(found.paths), "started": found.started, "findings": len(findings)}}


def _judge(rollout: Rollout, options: Verify, findings: tuple[Finding, ...]) -> None:
    error = verify_stage.refusal(findings) if options.mode == "strict" else None
    for finding in findings:
        if error is None or not finding.error:
            rollout.report(Event.WARNING, what=finding.what, code="verify-warning", fix=finding.fix)
    if error is not None:
        raise error


def _try(rollout: Rollout, made: Json, *, manifest: Manifest, runtime: Runtime, output: Json | None) -> Verified:
    own = making.own_runtime(rollout, runtime.name)
    domains = [name for name in rollout.options.run.domains if not name.startswith("*")]
    return verify_stage.verify(
        manifest,
        artifacts=rollout.paths.artifacts,
        folder=rollout.paths.checkouts / ".trials",
        node=Path(own.path),
        options=rollout.options.verify,
        paths=[rollout.options.probe.path],
        host=rollout.options.probe.host or (domains[0] if domains else "localhost"),
        variables={
            key: value
            for key, value in rollout.store.variables.of_release(ReleaseId(made["release"])).items()
            if key != sharedcache.VARIABLE  # the trial has no network
        },
        checkout=checkout_of(output, manifest) or _prebuilt(rollout, manifest),
        foreign=own.name != runtime.name,
        cancel=rollout.stop,
    )


def checkout_of(output: Json | None, manifest: Manifest) -> verify_stage.Checkout | None:
    """The tree that the artifact was made from, where it still is there."""
    if output is None or not Path(output["app_dir"]).is_dir():
        return None
    return verify_stage.Checkout.of(manifest, app_dir=Path(output["app_dir"]), top=Path(output["root"]))


def _prebuilt(rollout: Rollout, manifest: Manifest) -> verify_stage.Checkout | None:
    """The folder that was built elsewhere; it is only looked at."""
    wish = rollout.wish
    if not isinstance(wish, ReleaseWish) or wish.prebuilt is None or not Path(wish.prebuilt).is_dir():
        return None
    tree = source_stage.in_place(Path(wish.prebuilt))
    return verify_stage.Checkout.of(manifest, app_dir=Path(tree.app_dir), top=Path(tree.root))
