"""`cache`: what a person writes, what a server is told, and what is refused before anything is built."""

from __future__ import annotations

import json
import tomllib
from types import SimpleNamespace
from typing import Any

import pytest

from deployd.appkinds import CACHE
from deployd.domain.ids import AppName, EnvironmentName
from deployd.domain.options import Run
from deployd.errors import ConfigError
from deployd.rollouts import sharedcache
from deployd.stages.package.artifacts import shim

PLACE = (AppName("shop"), EnvironmentName("production"))


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ('"redis://10.0.0.5:6379/1"', "redis://10.0.0.5:6379/1"),
        ('"rediss://cache.example"', "rediss://cache.example"),
        ('{ env = "REDIS_URL" }', "env:REDIS_URL"),
    ],
)
def test_an_address_or_the_variable_that_holds_it(written: str, kept: str) -> None:
    assert CACHE.parse(tomllib.loads(f"cache = {written}")["cache"]) == kept
    assert CACHE.write(kept) == written


@pytest.mark.parametrize(
    "wrong", ["redis://:secret@10.0.0.5", "http://10.0.0.5", "10.0.0.5:6379", {"env": "A B"}, {"env": "A", "b": "c"}, 7]
)
def test_a_password_in_the_file_and_what_is_no_redis_is_refused(wrong: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        CACHE.parse(wrong)


def test_a_server_is_told_by_a_variable_of_its_own() -> None:
    assert sharedcache.of(*PLACE, Run()) == {}
    by_name = sharedcache.of(*PLACE, Run(cache="env:REDIS_URL"))[sharedcache.VARIABLE]
    assert json.loads(by_name.reveal()) == {"env": "REDIS_URL", "of": "shop-production"}
    plain = sharedcache.of(*PLACE, Run(cache="redis://10.0.0.5"))[sharedcache.VARIABLE]
    assert json.loads(plain.reveal()) == {"url": "redis://10.0.0.5", "of": "shop-production"}
    assert f"process.env.{sharedcache.VARIABLE}".encode() in shim()


def test_a_variable_that_is_not_there_is_told_before_anything_is_built() -> None:
    kept: Any = SimpleNamespace(of=lambda *_: [SimpleNamespace(key="REDIS_URL", build=False)])
    sharedcache.check(*PLACE, Run(cache="env:REDIS_URL"), kept)
    sharedcache.check(*PLACE, Run(cache="redis://10.0.0.5"), kept)
    with pytest.raises(ConfigError) as told:
        sharedcache.check(*PLACE, Run(cache="env:OTHER"), kept)
    assert told.value.code == "cache-variable-missing"
