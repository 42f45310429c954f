"""A world's first host, and what an app is called there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.world import World


def host_of(world: World) -> tuple[str, str]:
    """The lab and the name of the first host, as `lab.run` takes them."""
    return lab_of(world), world.hosts[0].name


def lab_of(world: World) -> str:
    """The lab that the world's hosts are of."""
    return Path(str(world.hosts[0].identity)).parent.name


def unit_of(world: World, release: str) -> str:
    """The service of a release's first instance."""
    return f"deployd-{world.name}-production-1@{release}.service"
