"""Monorepos: what an app is made of, what is installed and built for it, and what changes its build id."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from deployd.domain.options import Build
from deployd.domain.stages import SourceTree
from deployd.errors import BuildError
from deployd.stages import build
from deployd.stages.build import workspaces
from tests.support import sites

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.domain.stages import BuildPlan

LOCKS = {"npm": "package-lock.json", "pnpm": "pnpm-lock.yaml", "yarn": "yarn.lock", "bun": "bun.lock"}


def repository(root: Path, manager: str = "npm", **more: Any) -> Path:
    sites.monorepo(manager, **more).write(root)
    (root / LOCKS[manager]).write_text("")
    return root


def planned(root: Path, folder: str = "apps/web") -> BuildPlan:
    tree = SourceTree(
        root=str(root), app_dir=str(root / folder), tree_hash="t" * 40, commit=None, branch=None, ref="HEAD",
        subject=None, author=None, dirty=False,
    )  # fmt: skip
    return build.plan(tree, Build(), app="web", environment="production", variables={})


def found(root: Path, folder: str = "apps/web") -> workspaces.Workspace:
    workspace = workspaces.find(root, app_dir=root / folder)
    assert workspace is not None
    return workspace


def folders(members: tuple[workspaces.Member, ...]) -> list[str]:
    return [member.folder for member in members]


@pytest.mark.parametrize(
    ("manager", "install"),
    [
        ("npm", "npm ci --no-audit --no-fund -w apps/web --include-workspace-root"),
        ("pnpm", "pnpm install --frozen-lockfile --filter {apps/web}... --filter {packages/ui}... --filter {.}"),
        ("yarn", "yarn install --immutable"),
        ("bun", "bun install --frozen-lockfile --filter ./apps/web --filter ./packages/ui --filter ./"),
    ],
)
def test_only_what_the_app_needs_is_installed_where_the_manager_can(tmp_path: Path, manager: str, install: str) -> None:
    plan = planned(repository(tmp_path, manager))
    assert " ".join(plan.install) == install
    assert plan.trace_root == str(tmp_path)


def test_needed_packages_are_built_first_unless_they_are_there(tmp_path: Path) -> None:
    root = repository(tmp_path)
    assert planned(root).command == ("sh", "-c", "(cd ../../packages/ui && npm run build)")
    (root / "packages/ui/lib").mkdir()
    (root / "packages/ui/lib/index.js").write_text("")
    assert planned(root).command == ()


def test_turborepo_builds_them_when_it_is_there(tmp_path: Path) -> None:
    plan = planned(repository(tmp_path, "pnpm", turbo=True, next_line="16"))
    assert plan.command == ("sh", "-c", "(cd ../.. && pnpm exec turbo run build '--filter=web^...') && pnpm run build")


def test_a_change_in_another_app_changes_no_build_id(tmp_path: Path) -> None:
    root = repository(tmp_path)
    before = planned(root).build_id
    (root / "apps/docs/main.js").write_text("changed")
    (root / "apps/web/deployd.toml").write_text("changed")
    assert planned(root).build_id == before
    for place in ("apps/web/main.js", "packages/ui/build.js", "tsconfig.base.json", "scripts/tool.sh"):
        (root / place).parent.mkdir(exist_ok=True)
        (root / place).write_text("changed")
        after = planned(root).build_id
        assert after != before, place
        before = after
    (root / "apps/web/main.js").chmod(0o755)
    assert planned(root).build_id != before


def test_what_is_imported_without_being_named_counts_too(tmp_path: Path) -> None:
    root = repository(tmp_path)
    assert folders(found(root).others) == ["apps/docs"]
    for text in ("import x from '../docs/main'", 'require("docs/main.js")', "@import url('../docs/a.css')"):
        (root / "apps/web/more.css").write_text(text)
        assert folders(found(root).needed) == ["packages/ui", "apps/docs"], text
    (root / "apps/web/more.css").write_text("see docs; '../docsify'")
    assert folders(found(root).others) == ["apps/docs"]


def test_dependencies_stand_before_those_that_need_them_and_circles_end(tmp_path: Path) -> None:
    root = repository(tmp_path)
    for name, needs in {"a": {"b": "*"}, "b": {"a": "*", "c": "file:../c"}, "c": {}}.items():
        (root / "packages" / name).mkdir()
        (root / "packages" / name / "package.json").write_text(sites.package(f"{name}", dependencies=needs))
    package = json.loads((root / "apps/web/package.json").read_text())
    (root / "apps/web/package.json").write_text(json.dumps(package | {"dependencies": {"a": "*"}}))
    (root / "apps/web/main.js").write_text("")
    assert folders(found(root).needed) == ["packages/c", "packages/b", "packages/a"]


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("packages:\n  - apps/*\n", ["apps/docs", "apps/web"]),
        ("# ours\npackages: # here\n- 'apps/*'\n- \"!apps/docs\"\ncatalog:\n  - packages/*\n", ["apps/web"]),
        ("packages: ['apps/web', \"packages/**\"]\n", ["apps/web", "packages/ui"]),
        ("packages:\n  - '{apps,packages}/*'\n", ["apps/docs", "apps/web", "packages/ui"]),
        ("onlyBuiltDependencies:\n  - sharp\n", []),
    ],
)
def test_pnpms_list_is_read(tmp_path: Path, text: str, members: list[str]) -> None:
    root = repository(tmp_path, "pnpm")
    (root / "pnpm-workspace.yaml").write_text(text)
    workspace = workspaces.find(root, app_dir=root / "apps/web")
    assert (workspace is not None) == bool(members)
    if workspace:
        everything = (workspace.app, *workspace.needed, *workspace.others)
        assert sorted(folders(everything)) == members


def test_an_app_outside_of_the_workspace_needs_a_lock_file_of_its_own(tmp_path: Path) -> None:
    root = repository(tmp_path)
    (root / "tools/site").mkdir(parents=True)
    (root / "tools/site/package.json").write_text(sites.package("site", dependencies={"next": "16"}))
    with pytest.raises(BuildError) as caught:
        planned(root, "tools/site")
    assert caught.value.code == "lockfile-missing"
    assert "workspaces" in caught.value.what


def test_a_link_that_leads_to_itself_is_no_endless_walk(tmp_path: Path) -> None:
    root = repository(tmp_path, "pnpm")
    (root / "pnpm-workspace.yaml").write_text("packages:\n  - '**'\n")
    (root / "apps/web/loop").symlink_to("..")
    (root / "apps/web/self").symlink_to("self")
    plan = planned(root)
    assert plan.build_id == planned(root).build_id
    assert replace(plan) == plan
