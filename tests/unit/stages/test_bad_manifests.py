"""Manifests and lock files that are not what they should be: refused before anything runs, with the place in the error."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from deployd.domain.options import Build
from deployd.domain.stages import SourceTree
from deployd.errors import BuildError
from deployd.stages import build
from deployd.stages.build import builder, installs, left, manifest, nextapp
from deployd.stages.trace import manifests

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.domain.stages import BuildPlan

NEXT = {"name": "shop", "dependencies": {"next": "16.4.6"}, "scripts": {"build": "next build"}}
SIDES = '<<<<<<< HEAD\n{"a": 1}\n||||||| base\n=======\n{"a": 2}\n>>>>>>> theirs\n'


def planned(root: Path, folder: str = "", **options: Any) -> BuildPlan:
    tree = SourceTree(
        root=str(root), app_dir=str(root / folder), tree_hash="t" * 40, commit=None, branch=None, ref="HEAD",
        subject=None, author=None, dirty=False,
    )  # fmt: skip
    return build.plan(tree, Build(**options), app="shop", environment="production", variables={})


def refused(root: Path, folder: str = "", **options: Any) -> BuildError:
    with pytest.raises(BuildError) as caught:
        planned(root, folder, **options)
    assert caught.value.fix
    return caught.value


def write(root: Path, package: dict[str, Any], *, lock: str = "package-lock.json", text: str = "{}") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "package.json").write_text(json.dumps(package))
    (root / lock).write_text(text)
    return root


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b'{"name": "shop",}', "line 1 column"),
        (b"[]", "is no JSON object"),
        (b'"text"', "is no JSON object"),
        (b'{"name": "caf\xe9"}', "is not UTF-8 (byte 13)"),
        ('{"name": "shop"}'.encode("utf-16"), "is not UTF-8"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_a_package_json_that_is_none_is_named_with_its_place(tmp_path: Path, content: bytes, words: str) -> None:
    write(tmp_path / "apps" / "web", {})
    (tmp_path / "apps" / "web" / "package.json").write_bytes(content)

    error = refused(tmp_path, "apps/web")

    assert error.code == "package-json-invalid"
    assert error.what.startswith("apps/web/package.json ")
    assert words in error.what


def test_a_byte_order_mark_is_nothing(tmp_path: Path) -> None:
    write(tmp_path, NEXT)
    (tmp_path / "package.json").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "package.json").read_bytes())
    assert planned(tmp_path).framework == "nextjs"


def test_a_folder_without_anything_is_not_named_by_its_checkout(tmp_path: Path) -> None:
    (tmp_path / "apps" / "web").mkdir(parents=True)
    assert str(tmp_path) not in refused(tmp_path).what
    assert "apps/web" in refused(tmp_path, "apps/web").what


def test_a_pipe_where_a_manifest_should_be_is_not_waited_for(tmp_path: Path) -> None:
    """A build may leave one, and reading it would never end."""
    os.mkfifo(tmp_path / "package.json")
    with pytest.raises(BuildError, match="is no file"):
        manifest.read(tmp_path)
    assert left.read_json(tmp_path / "package.json") == {}
    assert manifests.read(tmp_path / "package.json") == {}

    root = write(tmp_path / "app", NEXT)
    plan = planned(root)
    before = installs.key(plan, folder=root)
    for name in (".npmrc", "x.patch", "sub"):
        (root / name).mkdir() if name == "sub" else os.mkfifo(root / name)
    os.mkfifo(root / "sub" / "package.json")
    assert installs.key(plan, folder=root) == before


@pytest.mark.parametrize("lock", ["package-lock.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock"])
def test_a_lock_file_with_both_sides_of_a_merge_is_refused(tmp_path: Path, lock: str) -> None:
    error = refused(write(tmp_path, NEXT, lock=lock, text=f"lockfileVersion: '9.0'\n{SIDES}"))
    assert error.code == "lockfile-invalid"
    assert lock in error.what
    assert "install" in error.fix


@pytest.mark.parametrize(
    ("files", "package", "options", "place"),
    [
        ({".nvmrc": "v99\n"}, {}, {}, ".nvmrc"),
        ({".node-version": "99"}, {}, {}, ".node-version"),
        ({}, {"engines": {"node": ">=99"}}, {}, "engines.node in package.json"),
        ({".nvmrc": "22"}, {}, {"node": "latest please"}, "build.node in deployd.toml"),
    ],
)
def test_a_node_that_nothing_fits_is_told_with_where_it_is_asked_for(
    tmp_path: Path, files: dict[str, str], package: dict[str, Any], options: dict[str, Any], place: str
) -> None:
    write(tmp_path, NEXT | package)
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    error = refused(tmp_path, **options)

    assert error.code == "node-unknown"
    assert f"({place})" in error.what
    assert "22.23.3" in error.fix


@pytest.mark.parametrize(("wish", "words"), [("17.0.0", "newer"), ("^18", "newer"), ("12.3.4", "older")])
def test_a_next_that_is_not_supported_is_named_with_those_that_are(tmp_path: Path, wish: str, words: str) -> None:
    write(tmp_path, NEXT | {"dependencies": {"next": wish}})

    error = refused(tmp_path)

    assert error.code == "next-unsupported"
    assert words in error.what
    assert "13.5, 14.2, 15.5 and 16" in error.what + error.fix


def test_a_newer_next_is_tried_where_deployd_toml_says_so(tmp_path: Path) -> None:
    write(tmp_path, NEXT | {"dependencies": {"next": "17.0.0"}})
    assert planned(tmp_path, framework="nextjs").framework == "nextjs"
    nextapp.check((17, 0, 0), said=True)
    with pytest.raises(BuildError, match=r"17\.0\.0"):
        nextapp.check((17, 0, 0))
    with pytest.raises(BuildError, match="older"):
        nextapp.check((12, 3, 4), said=True)


def test_two_lock_files_of_one_manager_are_none_too_many(tmp_path: Path) -> None:
    write(tmp_path, NEXT)
    (tmp_path / "npm-shrinkwrap.json").write_text("{}")
    assert planned(tmp_path).manager == "npm"
    (tmp_path / "yarn.lock").write_text("")
    assert refused(tmp_path).code == "lockfiles-several"


def test_a_folder_that_the_build_shut_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, NEXT)

    def shut(*_words: object, **_named: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / ".next"))

    monkeypatch.setattr(builder.outcome, "find", shut)
    with pytest.raises(BuildError, match=r"\.next so that it cannot be read") as caught:
        builder._left(planned(tmp_path), app_dir=tmp_path, root=tmp_path, log=tmp_path / "log")
    assert caught.value.code == "build-output-missing"
