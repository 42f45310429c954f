"""BuildPlan -> the variables that deployd itself sets for an install and a build, so that no file is edited."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.domain.stages import BuildPlan


def variables(plan: BuildPlan) -> dict[str, str]:
    """What Next.js and the package managers are told from outside."""
    told = {"YARN_NODE_LINKER": "node-modules"} if plan.manager == "yarn" else {}
    if plan.framework == "sveltekit":
        # adapter-auto takes adapter-node there, and fetches it where it is not installed
        return told | {"GCP_BUILDPACKS": "deployd"}
    if plan.framework != "nextjs":
        return told
    told |= {
        "NEXT_PRIVATE_STANDALONE": "1",  # standalone from outside: no edit of next.config
        "NEXT_DEPLOYMENT_ID": plan.build_id,
        "NEXT_IGNORE_INCORRECT_LOCKFILE": "1",  # 15 edits the lock file otherwise
    }
    if plan.trace_root:
        told["NEXT_PRIVATE_OUTPUT_TRACE_ROOT"] = plan.trace_root  # a lock file above the checkout decides it otherwise
    return told


def hook(plan: BuildPlan, file: str, *, variables: Mapping[str, str]) -> dict[str, str]:
    """What has `next build` take the address of a CDN from outside: `file` is nextassets.cjs, as the build sees it."""
    if not plan.asset_prefix:
        return {}
    own = variables.get("NODE_OPTIONS", "")
    return {
        "DEPLOYD_ASSET_PREFIX": plan.asset_prefix,
        "NODE_OPTIONS": f"{own} --require={json.dumps(file) if ' ' in file else file}".strip(),
    }
