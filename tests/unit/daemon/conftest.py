"""One daemon, wired and not started."""

from __future__ import annotations

import logging

import pytest
import structlog

from tests.unit.daemon.frame import Frame


@pytest.fixture
def frame(tmp_path):
    made = Frame(tmp_path)
    yield made
    made.close()


@pytest.fixture
def logs_as_before():
    """What a test sets up of the logs is gone after it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
