"""commit -> SourceTree: a clean checkout from a bare mirror, or the working tree as it is."""

from deployd.stages.source.checkout import checkout
from deployd.stages.source.working import uncommitted

__all__ = ["checkout", "uncommitted"]
