"""Versions that a workspace's catalog gives: pnpm's and Yarn's files, bun's package.json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from deployd.errors import BuildError
from deployd.stages.build import catalogs, framework, nextapp

if TYPE_CHECKING:
    from pathlib import Path

YAML = """packages:
  - apps/*

catalog:
  react: ^19.2.0   # with the compiler
  "@acme/x": '1.2.3'
catalogs:
  next:
    next: 16.4.6
  old:
    next: "12.3.4"
    react: 17
overrides:
  next: 1.0.0
"""


@pytest.mark.parametrize(
    ("name", "wish", "version"),
    [
        ("react", "catalog:", "^19.2.0"),
        ("react", "catalog:default", "^19.2.0"),
        ("@acme/x", "catalog:", "1.2.3"),
        ("next", "catalog:next", "16.4.6"),
        ("next", "catalog:old", "12.3.4"),
        ("next", "catalog:", "catalog:"),
        ("next", "catalog:gone", "catalog:gone"),
        ("next", "^15", "^15"),
        ("next", None, None),
    ],
)
@pytest.mark.parametrize("file", ["pnpm-workspace.yaml", ".yarnrc.yml"])
def test_a_version_is_its_catalogs(tmp_path: Path, file: str, name: str, wish: str | None, version: str | None) -> None:
    (tmp_path / file).write_text(YAML)
    app = tmp_path / "apps" / "web"
    app.mkdir(parents=True)
    assert catalogs.version(name, wish, app_dir=app) == version


@pytest.mark.parametrize("inside", [False, True])
def test_bun_has_them_in_package_json(tmp_path: Path, *, inside: bool) -> None:
    told = {"catalog": {"react": "19.2.0"}, "catalogs": {"next": {"next": "16.4.6"}}}
    (tmp_path / "package.json").write_text(
        json.dumps({"workspaces": {"packages": ["web"], **told}} if inside else told)
    )
    (tmp_path / "web").mkdir()
    assert catalogs.version("react", "catalog:", app_dir=tmp_path / "web") == "19.2.0"
    assert catalogs.version("next", "catalog:next", app_dir=tmp_path / "web") == "16.4.6"


def test_nothing_above_the_lock_file_counts(tmp_path: Path) -> None:
    (tmp_path / "pnpm-workspace.yaml").write_text(YAML)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "pnpm-lock.yaml").write_text("")
    assert catalogs.version("next", "catalog:next", app_dir=tmp_path / "app") == "catalog:next"


def test_a_major_that_is_not_supported_is_refused_before_the_install(tmp_path: Path) -> None:
    (tmp_path / "pnpm-workspace.yaml").write_text(YAML)
    (tmp_path / "package.json").write_text(json.dumps({"dependencies": {"next": "catalog:old"}}))
    found = framework.detect(tmp_path)
    assert found.version == "12.3.4"
    with pytest.raises(BuildError) as failed:
        nextapp.check_wish(found.version)
    assert failed.value.code == "next-unsupported"
