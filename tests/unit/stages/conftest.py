"""The fixtures of the stages' tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.standalone import Built

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["", "apps/web"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Built:
    return Built(tmp_path, request.param)
