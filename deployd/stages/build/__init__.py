"""SourceTree -> BuildOutput: the app's own build, in a clean environment, with limits and a cache."""

from deployd.stages.build.builder import build, keep_install
from deployd.stages.build.cache import keep_within
from deployd.stages.build.planning import plan, plan_for
from deployd.stages.build.prebuilt import build_id, take

__all__ = ["build", "build_id", "keep_install", "keep_within", "plan", "plan_for", "take"]
