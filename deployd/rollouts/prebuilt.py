"""A folder that CI has built comes in, a packaged artifact and what is known of it goes out: no install, no build."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.events import Event
from deployd.domain.ids import BuildId
from deployd.rollouts import making, values
from deployd.stages import build as build_stage
from deployd.stages import source as source_stage

if TYPE_CHECKING:
    from deployd.domain.ids import ArtifactName
    from deployd.domain.stages import SourceTree
    from deployd.rollouts.rollout import Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a prebuilt folder became."""

    artifact: ArtifactName
    build_id: BuildId
    node: str
    framework: str
    lockfile_sha256: str
    tree: SourceTree


def take(rollout: Rollout, folder: str) -> Taken:
    """Trace and package the folder as it lies there; raises SourceError, BuildError, PackageError."""
    tree = source_stage.in_place(Path(folder))
    plan = build_stage.plan_for(tree, rollout.options, app=rollout.app, environment=rollout.environment, variables={})
    rollout.report(
        Event.BUILD_PLANNED,
        framework=plan.framework,
        framework_version=plan.framework_version,
        manager=plan.manager,
        node=plan.node,
        build_id=plan.build_id,
    )
    output = build_stage.take(tree, plan)
    artifact = making.package_output(rollout, values.to_json(output))
    return Taken(
        artifact=artifact,
        build_id=build_stage.build_id(output) or BuildId("b" + artifact[1:21]),
        node=plan.node,
        framework=plan.framework,
        lockfile_sha256=plan.lockfile_sha256,
        tree=tree,
    )
