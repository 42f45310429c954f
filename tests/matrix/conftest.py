"""The matrix has a lab of one host for all of its live apps."""

from __future__ import annotations

import os

import pytest

from deployd import lab
from tests.lab.conftest import bootstrapped, lab_names, world
from tests.support.weights import pytest_terminal_summary

__all__ = ["bootstrapped", "lab_names", "pytest_terminal_summary", "shared_lab", "world"]


@pytest.fixture(scope="session")
def shared_lab(lab_names):
    """A running lab of one host."""
    return lab.up(f"test-{os.getpid()}", hosts=1)
