"""commit -> SourceTree: a clean checkout from a bare mirror, or the working tree as it is."""

from deployd.stages.source.bundle import join_bundle, write_bundle
from deployd.stages.source.checkout import checkout
from deployd.stages.source.history import History
from deployd.stages.source.inplace import tree as in_place
from deployd.stages.source.mirror import fetch, wanted
from deployd.stages.source.peek import Peek, peek
from deployd.stages.source.removing import remove
from deployd.stages.source.working import uncommitted

__all__ = [
    "History",
    "Peek",
    "checkout",
    "fetch",
    "in_place",
    "join_bundle",
    "peek",
    "remove",
    "uncommitted",
    "wanted",
    "write_bundle",
]
