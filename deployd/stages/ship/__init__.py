"""Artifact -> Shipped: only what a host lacks travels, and the host seals it.

`ship` compares the manifest with what the host has (`begin`), sends the missing objects by rsync, and has the host
verify and lay out the release (`seal`). All of it may be repeated at any point.
"""

from deployd.hosts.helper import pack
from deployd.stages.ship.transfer import Shipped, ship

__all__ = ["Shipped", "pack", "ship"]
