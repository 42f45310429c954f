"""What is built with what: package managers, Node.js versions, frameworks, and the plan's refusals."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployd.domain.options import Build, Options, Package, Probe, Trace, Verify
from deployd.domain.stages import SourceTree
from deployd.errors import BuildError
from deployd.stages import build
from deployd.stages.build import framework, nextapp, nodeversions, packages, planning, runtime, told

NEXT = {"name": "shop", "dependencies": {"next": "16.4.6"}, "scripts": {"build": "next build"}}


def app(folder: Path, package: dict[str, Any] | None = None, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps(NEXT if package is None else package))
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def tree(root: Path, app_dir: Path | None = None) -> SourceTree:
    return SourceTree(
        root=str(root), app_dir=str(app_dir or root), tree_hash="t" * 40, commit=None, branch=None, ref="HEAD",
        subject=None, author=None, dirty=False,
    )  # fmt: skip


def planned(root: Path, app_dir: Path | None = None, **options: Any) -> Any:
    return build.plan(tree(root, app_dir), Build(**options), app="shop", environment="production", variables={})


def code(caught: pytest.ExceptionInfo[BuildError]) -> str:
    assert caught.value.fix
    return caught.value.code


def test_what_decides_on_an_artifact_is_in_its_build_id(tmp_path: Path) -> None:
    """An include that an error asked for makes another artifact, also while deployd.toml is not committed."""
    root = app(tmp_path, **{"package-lock.json": "{}"})

    def built(**more: Any) -> str:
        return build.plan_for(tree(root), Options(**more), app="shop", environment="production", variables={}).build_id

    plain = built()
    others = [
        built(trace=Trace(include=(("/*", ("data/*",)),))),
        built(trace=Trace(exclude=(("/*", ("data/*",)),))),
        built(trace=Trace(error_pages="errors")),
        built(trace=Trace(root=".")),
        built(package=Package(source_maps=True)),
    ]
    assert len({plain, *others}) == len(others) + 1
    assert built(probe=Probe(path="/ok"), verify=Verify(mode="off"), build=Build(timeout=9.0)) == plain


# Package managers


@pytest.mark.parametrize(
    ("lock", "named", "manager", "install"),
    [
        ("package-lock.json", None, "npm", "npm ci --no-audit --no-fund"),
        ("npm-shrinkwrap.json", None, "npm", "npm ci --no-audit --no-fund"),
        ("pnpm-lock.yaml", None, "pnpm", "pnpm install --frozen-lockfile"),
        ("yarn.lock", None, "yarn", "yarn install --frozen-lockfile"),
        ("yarn.lock", "yarn@4.5.0+sha224.aaaa", "yarn", "yarn install --immutable"),
        ("bun.lock", None, "bun", "bun install --frozen-lockfile"),
        ("bun.lockb", "bun@1.2.3", "bun", "bun install --frozen-lockfile"),
    ],
)  # fmt: skip
def test_the_lock_file_decides(tmp_path: Path, lock: str, named: str | None, manager: str, install: str) -> None:
    root = app(tmp_path, NEXT | ({"packageManager": named} if named else {}), **{lock: ""})
    plan = planned(root)
    assert (plan.manager, " ".join(plan.install)) == (manager, install)
    assert plan.command == (manager, "run", "build")
    if named:
        assert plan.manager_version == named.split("@")[1].split("+")[0]


@pytest.mark.parametrize(("written", "version"), [(0, "1.3.0"), (1, "1.3.0"), (2, "1.4.5")])
def test_a_bun_that_reads_the_lock_files_format_is_taken(tmp_path: Path, written: int, version: str) -> None:
    text = f'{{\n  "lockfileVersion": {written},\n  "workspaces": {{}},\n}}\n'
    assert planned(app(tmp_path, NEXT, **{"bun.lock": text})).manager_version == version


def test_two_managers_lock_files_need_a_word(tmp_path: Path) -> None:
    root = app(tmp_path, **{"package-lock.json": "", "yarn.lock": ""})
    with pytest.raises(BuildError) as caught:
        planned(root)
    assert code(caught) == "lockfiles-several"
    assert "package-lock.json" in caught.value.what
    assert "yarn.lock" in caught.value.what
    app(tmp_path, NEXT | {"packageManager": "yarn@1.22.22"})
    assert planned(root).manager == "yarn"


@pytest.mark.parametrize(
    ("package", "files", "wanted"),
    [
        ({}, {}, "lockfile-missing"),
        ({"packageManager": "pnpm@10.1.0"}, {}, "lockfile-missing"),
        ({"packageManager": "pnpm@10.1.0"}, {"package-lock.json": ""}, "lockfile-mismatch"),
        ({"packageManager": "pnpm"}, {"pnpm-lock.yaml": ""}, "package-manager-unknown"),
        ({"packageManager": "deno@2.0.0"}, {"package-lock.json": ""}, "package-manager-unknown"),
        ({}, {"yarn.lock": "__metadata:\n  version: 4\n"}, "package-manager-unknown"),
        ({}, {"bun.lock": '{ "lockfileVersion": 3 }'}, "package-manager-unknown"),
    ],
)  # fmt: skip
def test_what_is_missing_is_told(tmp_path: Path, package: dict[str, Any], files: dict[str, str], wanted: str) -> None:
    with pytest.raises(BuildError) as caught:
        planned(app(tmp_path, NEXT | package, **files))
    assert code(caught) == wanted


def test_the_missing_lock_files_fix_is_a_command(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no lock file") as caught:
        planned(app(tmp_path, NEXT | {"packageManager": "pnpm@10.1.0"}))
    assert "`pnpm install`" in caught.value.fix


def test_a_workspaces_lock_file_and_manager_stand_at_its_top(tmp_path: Path) -> None:
    app(tmp_path, {"packageManager": "pnpm@10.1.0", "private": True}, **{"pnpm-lock.yaml": ""})
    web = app(tmp_path / "apps" / "web")
    plan = planned(tmp_path, web)
    assert (plan.manager, plan.manager_version) == ("pnpm", "10.1.0")
    assert Path(plan.lockfile) == tmp_path / "pnpm-lock.yaml"


def test_a_lock_file_above_the_repository_is_not_the_apps(tmp_path: Path) -> None:
    (tmp_path / "package-lock.json").write_text("")
    with pytest.raises(BuildError) as caught:
        planned(app(tmp_path / "repository"))
    assert code(caught) == "lockfile-missing"
    plan = planned(app(tmp_path / "repository", **{"package-lock.json": ""}))
    assert told.variables(plan)["NEXT_PRIVATE_OUTPUT_TRACE_ROOT"] == str(tmp_path / "repository")


def test_sveltekits_adapter_auto_is_told_to_make_a_server(tmp_path: Path) -> None:
    needs = {"devDependencies": {"@sveltejs/kit": "2", "@sveltejs/adapter-auto": "6"}}
    assert "GCP_BUILDPACKS" in told.variables(planned(app(tmp_path, needs, **{"package-lock.json": ""})))
    assert "GCP_BUILDPACKS" not in told.variables(planned(app(tmp_path / "next", **{"package-lock.json": ""})))


# Commands


def test_the_build_command(tmp_path: Path) -> None:
    root = app(tmp_path, **{"package-lock.json": ""})
    assert planned(root, command="make web").command == ("sh", "-c", "make web")
    assert planned(root, install="make deps").install == ("sh", "-c", "make deps")
    app(tmp_path, {"dependencies": {"next": "16"}})
    assert planned(root).command == ("npm", "exec", "--offline", "--", "next", "build")


def test_a_manager_runs_a_packages_command() -> None:
    assert packages.run_binary("pnpm", "next", "build") == ("pnpm", "exec", "next", "build")
    assert packages.run_binary("yarn", "next", "build") == ("yarn", "run", "next", "build")
    assert packages.run_binary("bun", "next", "build") == ("bun", "run", "next", "build")


def test_an_app_that_is_no_next_app_is_refused_with_the_folders_that_are(tmp_path: Path) -> None:
    root = app(tmp_path, {"private": True}, **{"package-lock.json": ""})
    with pytest.raises(BuildError) as caught:
        planned(root)
    assert code(caught) == "framework-unsupported"
    app(tmp_path / "apps" / "web")
    app(tmp_path / "node_modules" / "other")
    with pytest.raises(BuildError) as caught:
        planned(root)
    assert caught.value.fix == "name the app's folder: apps/web"


@pytest.mark.parametrize(
    ("text", "wanted"), [(None, "package-json-missing"), ("{", "package-json-invalid"), ("[]", "package-json-invalid")]
)
def test_a_package_json_that_is_none(tmp_path: Path, text: str | None, wanted: str) -> None:
    if text is not None:
        (tmp_path / "package.json").write_text(text)
    with pytest.raises(BuildError) as caught:
        framework.detect(tmp_path)
    assert code(caught) == wanted


@pytest.mark.parametrize("place", ["app/health/route.ts", "src/app/api/healthz/route.js", "pages/api/health.ts"])
def test_a_likely_probe_path_is_found(tmp_path: Path, place: str) -> None:
    app(tmp_path)
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text("")
    assert framework.detect(tmp_path).health in ("/health", "/api/healthz", "/api/health")


def test_an_old_next_is_refused(tmp_path: Path) -> None:
    assert nextapp.installed(tmp_path, tmp_path) is None
    installed = tmp_path / "node_modules" / "next"
    installed.mkdir(parents=True)
    for version, good in {"13.5.11": True, "16.0.0-canary.3": True, "13.4.19": False, "9.0.0": False}.items():
        (installed / "package.json").write_text(json.dumps({"version": version}))
        found = nextapp.installed(tmp_path / "apps" / "web", tmp_path)
        if good:
            nextapp.check(found)
        else:
            with pytest.raises(BuildError, match=version) as caught:
                nextapp.check(found)
            assert code(caught) == "next-unsupported"


# Node.js


@pytest.mark.parametrize(
    ("wish", "version"),
    [
        ("22", "22.23.3"), ("v22", "22.23.3"), ("22.x", "22.23.3"), ("22.23.3", "22.23.3"), ("v22.23.3", "22.23.3"),
        (">=20.9", "22.23.3"), ("^20.9.0", "20.20.2"), ("~24.21.0", "24.21.0"), (">=18 <21", "20.20.2"),
        ("20 || 24", "24.21.0"), ("lts/*", "22.23.3"), ("lts/iron", "20.20.2"), ("node", "22.23.3"),
        ("18 - 20", "20.20.2"), (">= 20.9.0", "22.23.3"), ("*", "22.23.3"), ("<22", "20.20.2"), ("<=22", "22.23.3"),
        (">22", "24.21.0"), ("^18.18.0 || ^19.8.0 || >= 20.0.0", "22.23.3"), ("lts/krypton", "24.21.0"),
    ],
)  # fmt: skip
def test_a_wish_means_a_pinned_version(wish: str, version: str) -> None:
    assert runtime.resolve(wish) == version


@pytest.mark.parametrize("wish", ["16", "20.9", "^21", "nonsense", ">=99", ""])
def test_what_no_pinned_version_fits(wish: str) -> None:
    assert nodeversions.pinned(wish) in (None, "22.23.3" if not wish else None)


def test_an_exact_version_is_taken_at_its_word_and_none_means_the_default() -> None:
    assert runtime.resolve("20.9.0") == "20.9.0"
    assert runtime.resolve(None) == "22.23.3"


@given(st.text(max_size=30))
def test_no_wish_breaks_the_parser(wish: str) -> None:
    assert nodeversions.pinned(wish) in {None, *nodeversions.PINNED}


@pytest.mark.parametrize(
    ("files", "package", "option", "version"),
    [
        ({".nvmrc": "v20\n"}, {}, None, "20.20.2"),
        ({".nvmrc": "\n# the old one\nlts/krypton # ours\n"}, {}, None, "24.21.0"),
        ({".nvmrc": "\n", ".node-version": "24"}, {}, None, "24.21.0"),
        ({}, {"engines": {"node": "^20"}}, None, "20.20.2"),
        ({".nvmrc": "24"}, {"engines": {"node": "^20"}}, None, "24.21.0"),
        ({".nvmrc": "24"}, {}, "20", "20.20.2"),
        ({".tool-versions": "# ours\nruby 3.3.0\nnodejs 20.20.2 # lts\n"}, {}, None, "20.20.2"),
        ({".tool-versions": "ruby 3.3.0\n"}, {}, None, "22.23.3"),
        ({}, {"volta": {"node": "24.21.0"}, "engines": {"node": ">=20"}}, None, "24.21.0"),
        ({}, {"volta": {"extends": "../package.json"}}, None, "22.23.3"),
        ({}, {}, None, "22.23.3"),
    ],
)  # fmt: skip
def test_where_the_node_version_is_said(
    tmp_path: Path, files: dict[str, str], package: dict[str, Any], option: str | None, version: str
) -> None:
    root = app(tmp_path, NEXT | package, **{"package-lock.json": "", **files})
    assert planned(root, node=option).node == version


def test_the_top_of_a_monorepo_says_the_node_version_where_the_app_does_not(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{ "engines": { "node": "^20" } }')
    (tmp_path / "apps/web").mkdir(parents=True)
    assert planning.wished_node(tmp_path / "apps/web", root=tmp_path, package={})[0] == "^20"
    assert planning.wished_node(tmp_path / "apps/web", root=tmp_path, package={"engines": {"node": "24"}})[0] == "24"


def test_a_recipe_is_of_one_shim() -> None:
    """Builds of before are used again: whoever changes what is packed into each of them raises the recipe, and this."""
    from deployd.stages.package import artifacts

    packed = hashlib.sha256(artifacts.shim()).hexdigest()
    assert (planning.RECIPE, packed) == (13, "703317780d136629a14568516032b5102c83c6261959712852c34fbf78eeee69")
