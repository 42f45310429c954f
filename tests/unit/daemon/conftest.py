"""One daemon, wired and not started."""

from __future__ import annotations

import pytest

from tests.unit.daemon.frame import Frame


@pytest.fixture
def frame(tmp_path):
    made = Frame(tmp_path)
    yield made
    made.close()
