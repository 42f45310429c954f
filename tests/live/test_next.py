"""Next.js 14.2 and 16 live on a host, one app each with both routers and every feature that the two share.

The other lines, routers, package managers and outputs are in tests/matrix (`make test-matrix`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import nextflow
from tests.support.nextcells import Cell

if TYPE_CHECKING:
    from tests.support.world import World


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "cell",
    [
        Cell(line="14.2", router="both", manager="npm", output="none"),
        Cell(line="16", router="both", manager="npm", output="none", src=True),
    ],
    ids=str,
)
def test_a_strangers_app_goes_live_with_all_that_it_has(world: World, cell: Cell) -> None:
    row = nextflow.run(world, cell, rebuild=cell.line == "16")

    assert row.failed == {}
    assert len(row.passed) > 12, row.passed
