"""SourceTree -> BuildOutput: the app's own build, in a clean environment, with limits and a cache."""

from deployd.stages.build.builder import build, keep_install
from deployd.stages.build.cache import keep_within
from deployd.stages.build.planning import plan

__all__ = ["build", "keep_install", "keep_within", "plan"]
