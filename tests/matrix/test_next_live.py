"""Next.js apps of every line, router, package manager and output, live on a host (`make test-matrix`).

Each is made from nothing, released with `deployd init && deployd release`, asked through the web server for every feature
that it can have, restarted, changed and released again. `-k 16-both` runs a part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import nextcells, nextflow

if TYPE_CHECKING:
    from tests.support.nextcells import Cell
    from tests.support.world import World


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("cell", [cell for line in nextcells.LINES for cell in nextcells.cells(line)], ids=str)
def test_an_app_goes_live_with_all_that_it_has(world: World, cell: Cell) -> None:
    row = nextflow.run(world, cell)

    told = "\n".join(f"{name}: {why}" for name, why in row.failed.items())
    assert not row.failed, f"{cell}: {len(row.passed)} features passed, these did not:\n{told}"
    assert len(row.passed) > (3 if not cell.server else 10)
