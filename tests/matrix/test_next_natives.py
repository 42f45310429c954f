"""Next.js apps around native packages and Prisma, live on a host with no edit (`make test-matrix`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import nativesites, nextflow
from tests.support.nextcells import PLAIN
from tests.support.nextchecks import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.nextstrangers import Stranger
    from tests.support.world import World

NATIVES: dict[str, Callable[[], Stranger]] = {
    "16-npm": lambda: nativesites.natives("16"),
    "15.5-pnpm": lambda: nativesites.natives("15.5", manager="pnpm"),
    "14.2-npm": lambda: nativesites.natives("14.2"),
    "13.5-npm": lambda: nativesites.natives("13.5"),
    "16-pnpm-in-the-bundle": lambda: nativesites.natives("16", manager="pnpm", outside=False),
    "compiled-16": nativesites.compiled,
    "prisma-16": nativesites.prisma,
    "prisma-15.5-pnpm": lambda: nativesites.prisma("15.5", manager="pnpm"),
    "prisma-16-own-folder": lambda: nativesites.prisma(output="generated/prisma"),
}


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", NATIVES)
def test_native_code_runs_on_a_host(world: World, name: str) -> None:
    stranger = NATIVES[name]()
    assert nextflow.visit(world, stranger) == {}
    if "public/photo.png" in stranger.binary:
        visitor = Visitor(address=world.hosts[0].address, cell=PLAIN)
        for accepted in ("image/webp", "image/avif"):
            answer = visitor.ask("/_next/image?url=%2Fphoto.png&w=64&q=75", Accept=accepted)
            assert answer.header("content-type") == accepted
