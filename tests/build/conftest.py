"""The example app for the tests that build it, made once; at the end, what the artifact of each app weighs beside its
`node_modules`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.shop import Made, Shop, lay_out
from tests.support.weights import pytest_terminal_summary

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["pytest_terminal_summary"]


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def made(shop: Shop) -> Made:
    return shop.make()


@pytest.fixture(scope="session")
def again(shop: Shop, made: Made) -> Made:
    return shop.make()


@pytest.fixture(scope="session")
def tree(shop: Shop, made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(made.manifest, artifacts=shop.artifacts, into=tmp_path_factory.mktemp("host") / "release")
