"""BuildPlan and the folder that was built in -> what the build left: a server, or pages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deployd.stages.build import delegated, firsts, nextoutput, servers, sites, wrapper

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.domain.stages import BuildPlan
    from deployd.stages.build.left import Left


def find(plan: BuildPlan, *, app_dir: Path, root: Path, log: Path) -> Left:
    """Find what a build that ended well left; raises BuildError that names what was looked for, and the mending key."""
    left = _left(plan, app_dir=app_dir, root=root, log=log)
    package = delegated.read(app_dir) if left.kind != "static" and (app_dir / "package.json").is_file() else {}
    told = firsts.warning(package, before=plan.before)
    return replace(left, warnings=(*left.warnings, told)) if told else left


def _left(plan: BuildPlan, *, app_dir: Path, root: Path, log: Path) -> Left:
    if plan.framework == "nextjs":
        return nextoutput.find(plan, app_dir=app_dir, root=root, log=log)
    if plan.framework == "static":
        return sites.find(plan, app_dir=app_dir, log=log)
    family = {
        "nuxt": servers.nuxt,
        "astro": servers.astro,
        "sveltekit": servers.sveltekit,
        "react-router": servers.react_router,
    }.get(plan.framework, servers.node)
    left = family(plan, app_dir=app_dir, root=root, log=log)
    inside = plan.trace_root not in ("", str(app_dir))
    if left.kind == "node" and inside and not left.entries[0].endswith(wrapper.NAME):
        # in a monorepo the release's folder is the repository's, and servers read `./public` of their own
        return replace(left, entries=(wrapper.write(app_dir, left.entries[0]), *left.entries))
    return left
