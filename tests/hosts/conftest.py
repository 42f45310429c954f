"""A server and what deployd makes of it has two hosts of its own: it runs beside the tests of `tests/lab`."""

from __future__ import annotations

from tests.lab.conftest import bootstrapped, lab_names, make_lab, shared_lab, world

__all__ = ["bootstrapped", "lab_names", "make_lab", "shared_lab", "world"]
