"""At the end, what the artifact of each app weighs beside its `node_modules`."""

from tests.support.weights import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]
