"""SourceTree + BuildPlan of a folder that was built before -> BuildOutput: nothing is installed, run or cleaned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.ids import BuildId
from deployd.domain.stages import BuildOutput
from deployd.errors import BuildError
from deployd.stages.build import nextapp, nextoutput, outcome
from deployd.stages.build.left import read_json

if TYPE_CHECKING:
    from deployd.domain.stages import BuildPlan, SourceTree


def take(tree: SourceTree, plan: BuildPlan) -> BuildOutput:
    """What another machine's build left in the folder; raises BuildError when it left nothing that can be released.

    Its `seconds` are 0, and `built` is the newest time of what it wrote.
    """
    app_dir, root = Path(tree.app_dir), Path(tree.root)
    if plan.framework == "nextjs":
        version = nextapp.installed(app_dir, root) or _in_standalone(app_dir, root, plan)
        if version is None:
            raise BuildError(
                "node_modules has no `next`: the folder was built elsewhere and its packages did not come along",
                code="prebuilt-incomplete",
                fix="bring node_modules along with what the build wrote, or run `npm ci` there first; or let CI build "
                "with NEXT_PRIVATE_STANDALONE=1, which puts what the server needs into .next/standalone",
            )
        nextapp.check(version)
    left = outcome.find(plan, app_dir=app_dir, root=root, log=app_dir)
    marks = [app_dir / left.folder / "BUILD_ID", *(app_dir / entry for entry in left.entries), app_dir / left.folder]
    built = next((int(mark.stat().st_mtime) for mark in marks if mark.exists()), 0)
    return BuildOutput(
        root=tree.root, app_dir=tree.app_dir, plan=plan, built=built, log="", seconds=0.0, **left.fields()
    )


def _in_standalone(app_dir: Path, root: Path, plan: BuildPlan) -> tuple[int, ...] | None:
    """The version of the Next.js in the build's own tree of what its server needs, which stands for node_modules."""
    dist = nextoutput.dist_of(app_dir, root=root, named=plan.output)
    if dist is None or plan.entry or nextoutput.own_server(app_dir):
        return None
    place = str(read_json(dist / "required-server-files.json").get("relativeAppDir") or "").strip("/")
    top = dist / "standalone"
    return nextapp.installed(top / place, top) if (top / place / "server.js").is_file() else None


def build_id(output: BuildOutput) -> BuildId | None:
    """The build id that Next.js was given as its deployment id, if it was one of deployd's form."""
    dist = Path(output.app_dir) / output.folder
    config = read_json(dist / "required-server-files.json").get("config") or {}
    told = read_json(dist / "routes-manifest.json").get("deploymentId") or config.get("deploymentId")
    try:
        return BuildId.parse(str(told or ""))
    except ValueError:
        return None
