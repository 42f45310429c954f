"""What is done on this machine: a wish comes in, a registered release (artifact, runtime, frozen variables) goes out.

Three stages are chained here (`checkout.py` has the first). A build that was made before is taken again.
"""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import __version__, settings
from deployd.domain.artifact import Provenance, Runtime
from deployd.domain.events import Event
from deployd.domain.ids import ArtifactName, BuildId, ReleaseId
from deployd.domain.release import Release, ReleaseState
from deployd.errors import DeploydError, NotFoundError, StorageError
from deployd.rollouts import assets, checkout, sharedcache, sharing, values
from deployd.rollouts.wishes import PromoteWish, ReleaseWish
from deployd.stages import build as build_stage
from deployd.stages import package as package_stage
from deployd.stages import trace as trace_stage
from deployd.stages.build import runtime as runtimes

if TYPE_CHECKING:
    from deployd.domain.ids import RuntimeName
    from deployd.domain.secret import Secret
    from deployd.domain.stages import SourceTree
    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.values import Json

ACTIONS_KEY = "NEXT_SERVER_ACTIONS_ENCRYPTION_KEY"


def build(rollout: Rollout, checked_out: Json, fleet_kind: Json) -> Json:
    """Build the tree, unless this very build was made before. Returns `artifact` (of the earlier one) or `output`."""
    rollout.pool.begin_shipping()
    tree = checkout.here(rollout, checked_out)
    variables = _build_variables(rollout)
    plan = build_stage.plan_for(
        tree,
        rollout.options,
        app=rollout.app,
        environment=rollout.environment,
        variables=variables,
        cpu=fleet_kind["cpu"],
    )
    rollout.report(
        Event.BUILD_PLANNED,
        framework=plan.framework,
        framework_version=plan.framework_version,
        manager=plan.manager,
        node=plan.node,
        build_id=plan.build_id,
    )
    use_cache = not isinstance(rollout.wish, ReleaseWish) or rollout.wish.use_cache
    again = _built_before(rollout, plan.build_id) if use_cache else None
    if again:
        rollout.report(Event.BUILD_REUSED, artifact=again.artifact, build_id=plan.build_id, release=again.id)
        return {
            "output": None,
            "artifact": again.artifact,
            "build_id": plan.build_id,
            "node": again.runtime.version,
            "framework": plan.framework,
            "lockfile_sha256": plan.lockfile_sha256,
        }
    node = runtimes.fetch(plan.node, runtimes=rollout.paths.runtimes, cpu=_own_cpu(), cancel=rollout.stop)
    output = build_stage.build(
        tree,
        plan,
        options=rollout.options.build,
        caches=rollout.paths.caches / rollout.app,
        log=rollout.paths.logs / f"{rollout.id}.log",
        variables=variables,
        node=Path(node.path),
        use_cache=use_cache,
        contained=settings.builds().contained,
        hidden=(rollout.paths.root,),
        report=rollout.report,
        cancel=rollout.stop,
    )
    return {
        "output": values.to_json(output),
        "artifact": None,
        "build_id": plan.build_id,
        "node": plan.node,
        "framework": plan.framework,
        "lockfile_sha256": plan.lockfile_sha256,
    }


def package(rollout: Rollout, checked_out: Json, built: Json, fleet_kind: Json) -> Json:
    """Trace and package what was built, and register the release."""
    artifact = ArtifactName(built["artifact"]) if built["artifact"] else package_output(rollout, built["output"])
    tree = checkout.tree_of(checked_out)
    return _register(
        rollout,
        artifact=artifact,
        build_id=BuildId(built["build_id"]),
        runtime=_fleet_runtime(rollout, built["node"], fleet_kind),
        tree=tree,
        framework=built["framework"],
        lockfile_sha256=built["lockfile_sha256"],
    )


def take_in(rollout: Rollout, fleet_kind: Json) -> Json:
    """Register a release of an artifact file, or of a folder that was built elsewhere."""
    wish = rollout.wish
    if isinstance(wish, ReleaseWish) and wish.prebuilt is not None:
        return _take_built(rollout, wish.prebuilt, fleet_kind)
    if not isinstance(wish, ReleaseWish) or wish.artifact_file is None:
        raise DeploydError("there is nothing to release", code="internal", fix="this is a bug: report it")
    artifact, told = package_stage.import_(Path(wish.artifact_file), artifacts=rollout.paths.artifacts)
    rollout.report(Event.ARTIFACT_PACKAGED, artifact=artifact.name, files=artifact.files, size=artifact.size)
    version = rollout.options.build.node or told.node or _newest_runtime_version(rollout)
    return _register(
        rollout,
        artifact=artifact.name,
        build_id=BuildId(told.build_id or "b" + artifact.name[1:21]),
        runtime=_fleet_runtime(rollout, version, fleet_kind),
        tree=None,
        framework=told.framework or "unknown",
        lockfile_sha256=told.lockfile_sha256,
    )


def _take_built(rollout: Rollout, folder: str, fleet_kind: Json) -> Json:
    from deployd.rollouts import prebuilt

    taken = prebuilt.take(rollout, folder)
    return _register(
        rollout,
        artifact=taken.artifact,
        build_id=taken.build_id,
        runtime=_fleet_runtime(rollout, taken.node, fleet_kind),
        tree=taken.tree,
        framework=taken.framework,
        lockfile_sha256=taken.lockfile_sha256,
    )


def take_over(rollout: Rollout, fleet_kind: Json) -> Json:
    """Register a release of another release's artifact, with this environment's variables."""
    wish = rollout.wish
    if not isinstance(wish, PromoteWish):
        raise DeploydError("there is nothing to promote", code="internal", fix="this is a bug: report it")
    origin = rollout.store.releases.get(wish.release)
    if origin.app != rollout.app:
        raise NotFoundError(
            f"release {origin.id} is of the app {origin.app}",
            code="release-of-other-app",
            fix=f"name a release of {rollout.app}",
        )
    assets.refuse_elsewhere(rollout, origin)
    sharing.of(rollout, origin.artifact)
    before = rollout.store.releases.provenance(origin.id)
    return _register(
        rollout,
        artifact=origin.artifact,
        build_id=origin.build_id,
        runtime=_fleet_runtime(rollout, origin.runtime.version, fleet_kind),
        tree=None,
        framework=before.framework,
        lockfile_sha256=before.lockfile_sha256,
        origin=before,
    )


def _build_variables(rollout: Rollout) -> dict[str, Secret]:
    store, where = rollout.store, (rollout.app, rollout.environment)
    store.variables.ensure_managed(*where, ACTIONS_KEY, who="deployd")
    everything = store.variables.reveal(*where)
    rollout.recorder.hide(secret for name, secret in everything.items() if not name.startswith("NEXT_PUBLIC_"))
    return store.variables.reveal(*where, build=True)


def _built_before(rollout: Rollout, build_id: BuildId) -> Release | None:
    found = rollout.store.releases.built(rollout.app, rollout.environment, build_id)
    if found is None:
        return None
    try:
        sharing.of(rollout, found.artifact)
    except (NotFoundError, StorageError):
        return None
    return found


def package_output(rollout: Rollout, output: Json) -> ArtifactName:
    """Trace and package a BuildOutput."""
    made = values.build_output(output)
    files = trace_stage.trace(
        made,
        options=rollout.options.trace,
        source_maps=rollout.options.package.source_maps,
        tools=rollout.paths.caches / "tools",
        cancel=rollout.stop,
    )
    for warning in files.warnings:
        rollout.report(Event.WARNING, what=warning, code="trace-warning")
    artifact = package_stage.package(files, built=made.built, artifacts=rollout.paths.artifacts)
    rollout.report(Event.ARTIFACT_PACKAGED, artifact=artifact.name, files=artifact.files, size=artifact.size)
    return artifact.name


def keep_install(rollout: Rollout, output: Json) -> None:
    """Keep what was installed for the next build; the checkout is of no use afterwards."""
    made = values.build_output(output)
    build_stage.keep_install(made, caches=rollout.paths.caches / rollout.app, report=rollout.report)
    build_stage.keep_within(rollout.paths.caches, settings.builds().cache_size)


def own_runtime(rollout: Rollout, name: RuntimeName) -> Runtime:
    """The same Node.js for this machine, which may have another CPU than the hosts."""
    return runtimes.fetch(name.version, runtimes=rollout.paths.runtimes, cpu=_own_cpu(), cancel=rollout.stop)


def _fleet_runtime(rollout: Rollout, version: str, fleet_kind: Json) -> Runtime:
    return runtimes.fetch(
        version,
        runtimes=rollout.paths.runtimes,
        cpu=fleet_kind["cpu"],
        libc=fleet_kind["libc"],
        cancel=rollout.stop,
    )


def runtime_here(rollout: Rollout, runtime: Runtime) -> Runtime:
    """The same runtime in this state folder: another daemon may have fetched it into its own."""
    if Path(runtime.path).exists():
        return runtime
    name = runtime.name
    return runtimes.fetch(
        name.version, runtimes=rollout.paths.runtimes, cpu=name.cpu, libc=name.libc, cancel=rollout.stop
    )


def _newest_runtime_version(rollout: Rollout) -> str:
    """The Node.js of the environment's last release, or the default: an artifact file does not say which."""
    last = rollout.store.releases.of(rollout.app, rollout.environment, limit=1)
    return last[0].runtime.version if last else runtimes.resolve(None)


def _register(
    rollout: Rollout,
    *,
    artifact: ArtifactName,
    build_id: BuildId,
    runtime: Runtime,
    tree: SourceTree | None,
    framework: str,
    lockfile_sha256: str | None,
    origin: Provenance | None = None,
) -> Json:
    """Keep the release with its provenance, and freeze the variables of this moment for it."""
    about = tree or origin
    commit = about.commit if about else None
    release = rollout.release_id(commit)
    wish = rollout.wish
    message = wish.message if isinstance(wish, ReleaseWish | PromoteWish) else None
    created = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    provenance = Provenance(
        app=rollout.app,
        environment=rollout.environment,
        release=release,
        artifact=artifact,
        build_id=build_id,
        runtime=runtime.name,
        commit=commit,
        branch=about.branch if about else None,
        ref=about.ref if about else None,
        dirty=about.dirty if about else False,
        subject=about.subject if about else None,
        author=about.author if about else None,
        who=rollout.who,
        message=message,
        created=created,
        node=runtime.name.version,
        lockfile_sha256=lockfile_sha256,
        framework=framework,
        deployd=__version__,
    )
    rollout.store.releases.add(_release_of(provenance, release), provenance=provenance)
    variables = rollout.store.variables
    variables.ensure_managed(rollout.app, rollout.environment, ACTIONS_KEY, who="deployd")
    also = sharedcache.of(rollout.app, rollout.environment, rollout.options.run)
    # its pages hold what was encrypted with the key of its build: another environment's, or another machine's
    built_here = isinstance(wish, ReleaseWish) and wish.artifact_file is None and wish.prebuilt is None
    key = variables.of_release(ReleaseId(origin.release)).get(ACTIONS_KEY) if origin else None
    also = also | ({ACTIONS_KEY: key} if key else {})
    variables.freeze(release, rollout.app, rollout.environment, also=also, managed=built_here)
    return {"release": release, "artifact": artifact, "runtime": values.to_json(runtime)}


def _release_of(provenance: Provenance, release: ReleaseId) -> Release:
    from deployd.domain.ids import AppName, EnvironmentName, RuntimeName

    return Release(
        id=release,
        app=AppName(provenance.app),
        environment=EnvironmentName(provenance.environment),
        artifact=ArtifactName(provenance.artifact),
        build_id=BuildId(provenance.build_id),
        runtime=RuntimeName(provenance.runtime),
        commit=provenance.commit,
        branch=provenance.branch,
        subject=provenance.subject,
        dirty=provenance.dirty,
        who=provenance.who,
        message=provenance.message,
        created=provenance.created,
        state=ReleaseState.NEW,
    )


def _own_cpu() -> str:
    return "arm64" if platform.machine() in {"aarch64", "arm64"} else "x64"
