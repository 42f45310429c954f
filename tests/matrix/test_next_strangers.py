"""Apps of habits that are known to go wrong elsewhere, live on a host with `deployd init && deployd release` (`make test-matrix`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import nextflow, nextstrangers

if TYPE_CHECKING:
    from tests.support.world import World


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", nextstrangers.STRANGERS)
def test_a_strangers_habits_go_live(world: World, name: str) -> None:
    assert nextflow.visit(world, nextstrangers.STRANGERS[name]()) == {}
