"""Each package manager for real, got through npm: installs from its lock file only, runs the build, keeps the install.

The app's `next` is a small package of its own that leaves what Next.js leaves; so no registry but for the managers.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployd import process
from deployd.domain.events import Event
from deployd.domain.options import Build
from deployd.domain.secret import Secret
from deployd.domain.stages import SourceTree
from deployd.errors import BuildError
from deployd.stages import build, trace
from deployd.stages.build import installs, packages, runtime
from deployd.stages.build.environment import build_environment, make_home, registry_environment
from deployd.stages.build.ground import Ground

if TYPE_CHECKING:
    from deployd.domain.stages import BuildOutput

MANAGERS = {
    "npm": "npm@10.9.4",
    "pnpm": f"pnpm@{packages.DEFAULT_VERSIONS['pnpm']}",
    "yarn classic": f"yarn@{packages.DEFAULT_VERSIONS['yarn']}",
    "yarn": "yarn@4.5.0",
    "bun": f"bun@{packages.DEFAULT_VERSIONS['bun']}",
}
LOCK = {
    "npm": ("npm", "install", "--package-lock-only", "--no-audit"),
    "pnpm": ("pnpm", "install", "--lockfile-only"),
    "yarn classic": ("yarn", "install", "--ignore-scripts"),
    "yarn": ("yarn", "install", "--mode=update-lockfile", "--no-immutable"),
    "bun": ("bun", "install", "--lockfile-only"),
}
NEXT = """#!/usr/bin/env node
const fs = require("node:fs");
const name = require("helper");
const seen = { node: process.version, agent: process.env.npm_config_user_agent ?? null, mode: process.env.NODE_ENV, name };
fs.mkdirSync(".next/standalone/.next", { recursive: true });
fs.writeFileSync(".next/standalone/server.js", JSON.stringify(seen));
fs.writeFileSync(".next/required-server-files.json", JSON.stringify({ relativeAppDir: "", files: [] }));
fs.writeFileSync(".next/BUILD_ID", "b");
fs.mkdirSync(".next/cache", { recursive: true });
fs.appendFileSync(".next/cache/builds", "x");
console.log("built", fs.readFileSync(".next/cache/builds", "utf8").length, "times");
"""


def app(folder: Path, *, manager: str) -> Path:
    """An app with `next` and a helper of its own as local packages."""
    packed = {
        "next": {"package.json": json.dumps({"name": "next", "version": "16.0.0", "bin": {"next": "./next.js"},
                                             "dependencies": {}}), "next.js": NEXT},
        "helper": {"package.json": json.dumps({"name": "helper", "version": "1.0.0"}),
                   "index.js": "module.exports = 'helped';\n"},
    }  # fmt: skip
    for name, files in packed.items():
        for file, text in files.items():
            path = folder / "vendor" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        process.run(["npm", "pack", "--silent", "--pack-destination", ".."], cwd=folder / "vendor" / name)
        shutil.rmtree(folder / "vendor" / name)
    (folder / "package.json").write_text(
        json.dumps(
            {
                "name": "shop", "version": "1.0.0", "private": True, "packageManager": MANAGERS[manager],
                "scripts": {"build": "NODE_PATH=node_modules next build",
                            "postinstall": "node -e \"fs.writeFileSync('written.txt', 'by postinstall')\""},
                "dependencies": {"next": "file:./vendor/next-16.0.0.tgz", "helper": "file:./vendor/helper-1.0.0.tgz"},
            }
        )
    )  # fmt: skip
    if manager == "yarn":
        (folder / ".yarnrc.yml").write_text("nodeLinker: node-modules\n")
    return folder


class Workshop:
    """One state folder for all managers, with a node."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.node = Path(runtime.fetch(runtime.resolve("22"), runtimes=state / "runtimes").path)

    def caches(self, name: str) -> Path:
        return self.state / "caches" / name.replace(" ", "-")

    def tree(self, folder: Path) -> SourceTree:
        return SourceTree(
            root=str(folder), app_dir=str(folder), tree_hash="t" * 40, commit=None, branch=None, ref="HEAD",
            subject=None, author=None, dirty=False,
        )  # fmt: skip

    def lock(self, folder: Path, *, manager: str) -> None:
        """What a person does on their machine: make the lock file with that manager."""
        names = {"npm": "package-lock.json", "pnpm": "pnpm-lock.yaml", "yarn": "yarn.lock", "bun": "bun.lock"}
        placeholder = folder / names[manager.partition(" ")[0]]
        placeholder.write_text("")
        plan = build.plan(self.tree(folder), Build(), app="shop", environment="production", variables={})
        placeholder.unlink()
        home = self.state / "person"
        make_home(home)
        tools = installs.tools(plan, caches=self.caches(manager).parent)
        path = ":".join([str(self.node.parent), *([str(tools)] if tools else []), os.environ["PATH"]])
        ground = Ground(home=str(home), path=path, registry=registry_environment(), box=None)
        env = build_environment(ground, manager=manager, root=str(folder), variables={"CI": ""})
        env["YARN_CACHE_FOLDER"] = str(home / "yarn")  # root's would be the machine's, with packages of earlier runs
        process.run(LOCK[manager], cwd=folder, env=env, timeout=120)
        shutil.rmtree(folder / "node_modules", ignore_errors=True)
        assert placeholder.is_file()

    def build(self, folder: Path, *, manager: str, events: list[Any] | None = None) -> BuildOutput:
        def report(event: Event, /, **fields: object) -> None:
            if events is not None:
                events.append((event, fields))

        tree = self.tree(folder)
        plan = build.plan(tree, Build(), app="shop", environment="production", variables={})
        return build.build(
            tree, plan, options=Build(timeout=180), caches=self.caches(manager), log=self.state / f"{manager}.log",
            node=self.node, variables={"TOKEN": Secret("hush-hush")}, report=report,
        )  # fmt: skip


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("managers"))


@pytest.mark.parametrize("manager", MANAGERS)
def test_an_app_is_installed_from_its_lock_file_and_built(workshop: Workshop, tmp_path: Path, manager: str) -> None:
    first = app(tmp_path / "first", manager=manager)
    workshop.lock(first, manager=manager)
    shutil.copytree(first, tmp_path / "second")
    locked = {path.name: path.read_bytes() for path in first.iterdir() if path.is_file()}

    output = workshop.build(first, manager=manager)
    seen = json.loads((first / ".next/standalone/server.js").read_text())
    assert seen["node"] == "v22.23.3"
    assert seen["mode"] == "production"
    assert seen["name"] == "helped"
    name, _, version = MANAGERS[manager].partition("@")
    assert str(seen["agent"]).startswith(f"{name}/{version} ")
    assert {name: (first / name).read_bytes() for name in locked} == locked  # the lock file above all
    assert [file.path for file in trace.trace(output, tools=tmp_path / "tools").files] == ["server.js"]
    build.keep_install(output, caches=workshop.caches(manager))
    assert not (first / "node_modules").exists()

    events: list[Any] = []
    (tmp_path / "second" / ".pnp.cjs").write_text("")  # as a repository of Yarn's has it
    workshop.build(tmp_path / "second", manager=manager, events=events)
    assert (tmp_path / "second" / ".pnp.cjs").exists() == (name != "yarn")  # what it says, bundlers believe
    assert [fields["manager"] for event, fields in events if event is Event.INSTALL_SKIPPED] == [name]
    lines = [fields["line"] for event, fields in events if event is Event.BUILD_OUTPUT]
    assert any("built 2 times" in line for line in lines), lines  # .next/cache came back
    assert (tmp_path / "second" / "written.txt").read_text() == "by postinstall"


@pytest.mark.parametrize("manager", MANAGERS)
def test_a_lock_file_that_does_not_fit_installs_nothing(workshop: Workshop, tmp_path: Path, manager: str) -> None:
    folder = app(tmp_path / "app", manager=manager)
    workshop.lock(folder, manager=manager)
    data = json.loads((folder / "package.json").read_text())
    data["dependencies"]["other"] = "file:./vendor/helper-1.0.0.tgz"
    (folder / "package.json").write_text(json.dumps(data))
    with pytest.raises(BuildError) as caught:
        workshop.build(folder, manager=manager)
    assert caught.value.code == "install-failed"
    assert caught.value.details
    assert "commit the lock file" in caught.value.fix


def test_a_manager_version_that_does_not_exist_is_told(workshop: Workshop, tmp_path: Path) -> None:
    folder = app(tmp_path / "app", manager="pnpm")
    data = json.loads((folder / "package.json").read_text()) | {"packageManager": "pnpm@0.0.12345"}
    (folder / "package.json").write_text(json.dumps(data))
    (folder / "pnpm-lock.yaml").write_text("")
    with pytest.raises(BuildError) as caught:
        workshop.build(folder, manager="pnpm")
    assert caught.value.code == "package-manager-missing"
    assert "pnpm@0.0.12345" in caught.value.fix


def test_a_node_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        runtime.resolve(">=99")
    assert caught.value.code == "node-unknown"
    with pytest.raises(BuildError) as caught:
        runtime.fetch("22.99.99", runtimes=tmp_path)
    assert caught.value.code == "node-unknown"
    assert not [path for path in tmp_path.iterdir() if path.name != ".lock"]
