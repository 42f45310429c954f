"""Packages for hosts with another CPU: how each manager is told, what is taken of npm's lock file, and what travels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from deployd.domain.options import Build
from deployd.domain.stages import FileSet, SourceTree, TracedFile
from deployd.stages import build
from deployd.stages.build import installs, platforms
from deployd.stages.trace.platforms import with_twins

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.domain.stages import BuildPlan, PackageManager


@pytest.fixture(autouse=True)
def on_x64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platforms.platform, "machine", lambda: "x86_64")


@pytest.mark.parametrize(
    ("name", "version", "words"),
    [
        ("npm", None, "install"),
        ("pnpm", "10.34.0", "install --cpu=x64 --cpu=arm64 --os=linux --libc=glibc"),
        ("pnpm", "9.15.0", "install"),
        ("bun", "1.3.0", "install --cpu x64 --cpu arm64 --os linux"),
        ("yarn", "1.22.22", "install --ignore-platform"),
    ],
)
def test_each_manager_is_told_in_its_own_words(name: PackageManager, version: str | None, words: str) -> None:
    assert " ".join(platforms.with_cpu(("install",), name=name, version=version, cpu="arm64")) == words


def test_yarn_is_told_by_a_setting_of_the_builds_home() -> None:
    shell, option, text = platforms.with_cpu(
        ("yarn", "install", "--immutable"), name="yarn", version="4.5.0", cpu="arm64"
    )
    assert (shell, option) == ("sh", "-c")
    assert '{"cpu": ["current", "arm64"]}' in text
    assert text.endswith("&& yarn install --immutable")


def test_the_hosts_cpu_is_part_of_the_plan_only_where_it_is_another(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"name":"shop","dependencies":{"next":"16.4.6"}}')
    (tmp_path / "package-lock.json").write_text("{}")
    tree = SourceTree(
        root=str(tmp_path), app_dir=str(tmp_path), tree_hash="t", commit=None, branch=None, ref="HEAD", subject=None,
        author=None, dirty=False,
    )  # fmt: skip

    def planned(cpu: str, **options: Any) -> BuildPlan:
        return build.plan(tree, Build(**options), app="shop", environment="production", variables={}, cpu=cpu)

    assert planned("x64") == planned("")
    assert (planned("x64").cpu, planned("arm64").cpu) == ("", "arm64")
    assert planned("arm64").build_id != planned("x64").build_id
    assert planned("arm64", install="npm ci").cpu == ""  # the person does it themselves
    keys = {installs.key(planned(cpu), folder=tmp_path) for cpu in ("x64", "arm64", "")}
    assert len(keys) == 2


def entry(cpu: str, **more: Any) -> dict[str, Any]:
    return {"version": "1.0.0", "integrity": "sha512-x", "cpu": [cpu], "os": ["linux"], "optional": True} | more


def test_of_npms_lock_file_only_what_is_for_the_hosts_is_installed_aside(tmp_path: Path) -> None:
    (tmp_path / "node_modules" / "deep" / "node_modules").mkdir(parents=True)
    (tmp_path / "node_modules" / "@img" / "there-arm64").mkdir(parents=True)
    (tmp_path / ".npmrc").write_text("registry=http://r/")
    lock = {"packages": {
        "": {"name": "shop"},
        "node_modules/@img/a-linux-arm64": entry("arm64", dependencies={"x": "1"}, engines={"node": ">=99"}),
        "node_modules/deep/node_modules/b-arm64": entry("arm64", version="2.0.0", libc=["glibc"]),
        "node_modules/@img/a-linux-x64": entry("x64"),
        "node_modules/@img/a-musl-arm64": entry("arm64", libc=["musl"]),
        "node_modules/@img/a-darwin-arm64": entry("arm64", os=["darwin"]),
        "node_modules/@img/there-arm64": entry("arm64"),
        "node_modules/both": entry("arm64") | {"cpu": ["x64", "arm64"]},
        "node_modules/not-installed/node_modules/c-arm64": entry("arm64"),
        "../../node_modules/evil": entry("arm64"),
        "node_modules/../../evil": entry("arm64"),
        "node_modules/no-version": {"cpu": ["arm64"], "optional": True},
        "node_modules/no-object": 1,
    }}  # fmt: skip
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    seen: list[Any] = []

    def install(argv: tuple[str, ...], folder: Path) -> None:
        seen.extend([argv, json.loads((folder / "package-lock.json").read_text()), (folder / ".npmrc").read_text()])
        for name in seen[1]["packages"][""]["dependencies"]:
            (folder / "node_modules" / name).mkdir(parents=True)
            (folder / "node_modules" / name / "made").write_text(name)

    places = platforms.add_npms(tmp_path, lockfile=tmp_path / "package-lock.json", cpu="arm64", install=install)

    assert places == ["node_modules/@img/a-linux-arm64", "node_modules/deep/node_modules/b-arm64"]
    argv, aside, settings = seen
    assert argv[:2] == ("npm", "ci")
    assert "--ignore-scripts" in argv
    assert settings == "registry=http://r/"
    assert sorted(aside["packages"][""]["dependencies"].values()) == [
        "npm:@img/a-linux-arm64@1.0.0",
        "npm:b-arm64@2.0.0",
    ]
    assert all("dependencies" not in one for place, one in aside["packages"].items() if place)
    assert (tmp_path / "node_modules/@img/a-linux-arm64/made").is_file()
    assert not (tmp_path / ".deployd-packages").exists()


def test_a_link_that_was_committed_leads_no_package_out(tmp_path: Path) -> None:
    (tmp_path / "app" / "node_modules").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "app" / "node_modules" / "@img").symlink_to(tmp_path / "outside")
    (tmp_path / "app" / "package-lock.json").write_text(
        json.dumps({"packages": {"node_modules/@img/a-arm64": entry("arm64")}})
    )
    assert platforms.add_npms(
        tmp_path / "app", lockfile=tmp_path / "app" / "package-lock.json", cpu="arm64", install=lambda *_: None
    ) == []  # fmt: skip


def test_a_file_for_this_machine_brings_its_twin_for_the_hosts(tmp_path: Path) -> None:
    there = [
        "node_modules/@img/sharp-linux-x64/lib/sharp-linux-x64.node",
        "node_modules/@img/sharp-linux-arm64/lib/sharp-linux-arm64.node",
        "node_modules/@img/sharp-linuxmusl-x64/lib/x.node",
        "node_modules/@img/sharp-darwin-arm64/lib/x.node",
        "node_modules/bcrypt/prebuilds/linux-x64/bcrypt.node",
        "node_modules/bcrypt/prebuilds/linux-arm64/bcrypt.node",
        "node_modules/only/prebuilds/linux-x64/only.node",
        "lib/x64/own.js",
        "lib/arm64/own.js",
    ]
    for name in there:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "node_modules/@img/up").mkdir()
    (tmp_path / "node_modules/@img/up/linux-x64").symlink_to("../sharp-linux-x64")
    (tmp_path / "node_modules/@img/up/linux-arm64").symlink_to("../sharp-linux-arm64")
    traced = [name for name in there if "arm64" not in name or "darwin" in name]
    files = [TracedFile(path=name, source=str(tmp_path / name), size=1) for name in traced]
    link = "node_modules/@img/up/linux-x64"
    files.append(TracedFile(path=link, source=str(tmp_path / link), size=0, symlink="../sharp-linux-x64"))

    found = with_twins(FileSet(root=str(tmp_path), entry="server.js", files=tuple(files)), cpu="arm64")

    paths = [file.path for file in found.files]
    assert paths == sorted(paths)
    assert set(paths) == {
        "node_modules/@img/sharp-linux-x64/lib/sharp-linux-x64.node",
        "node_modules/@img/sharp-linux-arm64/lib/sharp-linux-arm64.node",
        "node_modules/bcrypt/prebuilds/linux-x64/bcrypt.node",
        "node_modules/bcrypt/prebuilds/linux-arm64/bcrypt.node",
        "node_modules/only/prebuilds/linux-x64/only.node",
        "node_modules/@img/up/linux-x64",
        "node_modules/@img/up/linux-arm64",
        "lib/x64/own.js",
    }
