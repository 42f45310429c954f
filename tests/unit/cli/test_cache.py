"""`deployd cache`: the list, what is cleared, and the way through a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from deployd import sandbox
from deployd.stages.build import cache

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sandbox, "account", lambda: None)
    monkeypatch.setenv("DEPLOYD_STATE_DIR", str(tmp_path / "elsewhere"))
    for name, used in (("shop/production/kept/main-1", 2000), ("blog/production/stores", 1000)):
        folder = tmp_path / "elsewhere" / "caches" / name
        (folder / "0").mkdir(parents=True)
        (folder / "0" / "x").write_text("x")
        cache.write(folder, {"bytes": 3 * 1024**2, "branch": "main" if "kept" in name else None}, used=used)
    return tmp_path / "elsewhere" / "caches"


def test_the_list_says_what_is_kept_and_what_it_takes(deployd, caches):
    done = deployd("cache", "list")

    assert done.exit == 0
    head, first, second, total = done.out.splitlines()
    assert head.split() == ["APP", "ENVIRONMENT", "WHAT", "NAME", "SIZE", "USED"]
    assert first.split()[:6] == ["shop", "production", "kept", "main", "3.0", "MB"]
    assert second.startswith("blog")
    assert total.startswith("6.0 MB of 20.0 GB")


def test_the_list_for_scripts(deployd, caches, monkeypatch):
    monkeypatch.setenv("DEPLOYD_CACHE_SIZE", "1G")

    found = json.loads(deployd("cache", "list", "shop", "--json").out)

    assert (found["bytes"], found["budget"]) == (3 * 1024**2, 1024**3)
    assert found["entries"] == [
        {
            "app": "shop",
            "environment": "production",
            "kind": "kept",
            "name": "main",
            "size": 3 * 1024**2,
            "used": 2000.0,
        }
    ]


def test_all_is_cleared_only_when_meant(deployd, caches):
    assert deployd("cache", "clear").exit == 2
    assert deployd("cache", "clear", "shop").exit == 0
    assert not (caches / "shop/production/kept/main-1").exists()
    assert deployd("cache", "clear", "--yes", "--json").exit == 0
    assert cache.entries(caches) == []


def test_what_is_in_use_stays_and_is_told(deployd, caches):
    with cache.held(caches / "blog" / "production", "stores", alone=False):
        done = deployd("cache", "clear", "blog")

    assert done.exit == 1
    assert "blog production stores: a build is using it" in done.err


def test_through_a_file(deployd, caches, tmp_path, monkeypatch):
    assert deployd("cache", "export", str(tmp_path / "c.tar.gz"), "shop").exit == 0
    monkeypatch.setenv("DEPLOYD_STATE_DIR", str(tmp_path / "third"))

    done = deployd("cache", "import", str(tmp_path / "c.tar.gz"), "--json")

    assert json.loads(done.out)["entries"] == ["shop production kept main (3.0 MB)"]
    assert len(cache.entries(tmp_path / "third" / "caches")) == 1


def test_a_daemons_caches_are_not_here(deployd, caches, monkeypatch):
    monkeypatch.setenv("DEPLOYD_URL", "https://deployd.example")

    done = deployd("cache", "list")

    assert done.exit == 2
    assert "on the daemon's machine" in done.err
