"""The example app, really installed and built: the plan, the files that travel, the manifest, and a second build."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path

from deployd.domain.artifact import FileEntry
from deployd.domain.events import Event
from deployd.domain.options import Build
from deployd.domain.stages import SourceRequest
from deployd.stages import build, package, source
from tests.support.shop import CANARY, EXAMPLE, VARIABLES, Made, Shop


def test_the_plan_says_what_will_be_done(made: Made) -> None:
    assert made.plan.framework == "nextjs"
    assert (made.plan.manager, made.plan.install[:2], made.plan.command) == (
        "npm", ("npm", "ci"), ("npm", "run", "build"),
    )  # fmt: skip
    assert made.plan.node == "22.23.3"
    assert re.fullmatch(r"b[0-9a-f]{20}", made.plan.build_id)


def test_the_example_lock_file_serves_every_registry_and_platform() -> None:
    lock = json.loads((EXAMPLE / "package-lock.json").read_text())
    assert not [name for name, entry in lock["packages"].items() if "resolved" in entry]
    for platform in ("darwin-arm64", "darwin-x64", "win32-x64-msvc", "win32-arm64-msvc", "linux-arm64-gnu"):
        entry = lock["packages"][f"node_modules/@next/swc-{platform}"]
        assert entry["optional"]
        assert entry["os"] == [platform.split("-")[0]]
        assert entry["cpu"] == [platform.split("-")[1]]


def test_the_output_is_told_and_kept_without_the_secret(made: Made) -> None:
    told = "\n".join(fields["line"] for fields in made.told(Event.BUILD_OUTPUT))
    log = Path(made.output.log)
    assert "Compiled successfully" in told
    assert told in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_next_is_told_the_build_id_and_telemetry_is_off(made: Made, tree: Path) -> None:
    assert json.loads((tree / ".next" / "routes-manifest.json").read_text())["deploymentId"] == made.plan.build_id


def test_the_traces_alone_give_the_files_of_the_standalone_tree(made: Made) -> None:
    assert {file.path: file.symlink for file in made.assembled.files} == {
        file.path: file.symlink for file in made.files.files
    }
    assert made.assembled.entry == made.files.entry
    assert [file.path for file in made.assembled.files if "made by deployd" in file.reasons] == ["server.js"]


def test_no_secret_file_travels_and_each_is_named(made: Made, tree: Path) -> None:
    names = [path.name for path in tree.rglob("*")]
    assert not [name for name in names if name.startswith(".env") or name == "key.pem"]
    warned = "\n".join(made.files.warnings)
    for path in (".env", ".env.production", "public/key.pem", "public/.env.example"):
        assert path in warned


def test_no_secret_value_is_in_any_file(shop: Shop, made: Made) -> None:
    for value in (CANARY, base64.b64encode(CANARY.encode()).decode()):
        found = [
            entry.path
            for entry in made.manifest.files
            if isinstance(entry, FileEntry)
            and value.encode() in (shop.artifacts / "objects" / entry.sha256[:2] / entry.sha256).read_bytes()
        ]
        assert not found


def test_the_manifest_says_how_it_is_run_and_served(made: Made) -> None:
    manifest = made.manifest
    assert manifest.entry == "server.js"
    assert dict(manifest.writable) == {"cache": ".next/cache", "route-cache": ".next/server/route-cache"}
    assert dict(manifest.assets) == {"/_next/static": ".next/static"}
    assert dict(manifest.public) == {"/": "public"}
    assert made.artifact.size == manifest.size
    paths = {entry.path: entry for entry in manifest.files}
    assert list(paths) == sorted(paths)
    assert {".deployd/listen.cjs", "public/robots.txt", ".next/BUILD_ID"} <= set(paths)
    prerendered = {path for path, entry in paths.items() if isinstance(entry, FileEntry) and entry.time == "build"}
    assert ".next/server/app/fresh.html" in prerendered
    assert all(path.startswith((".next/server/app/", ".next/server/pages/")) for path in prerendered)


def test_the_second_build_skips_the_install_and_starts_from_the_cache(made: Made, again: Made) -> None:
    assert not made.told(Event.INSTALL_SKIPPED)
    assert again.told(Event.INSTALL_SKIPPED) == [{"manager": "npm", "lockfile": "package-lock.json"}]
    first, second = ("\n".join(f["line"] for f in one.told(Event.BUILD_OUTPUT)) for one in (made, again))
    assert "No build cache found" in first
    assert "No build cache found" not in second
    assert again.output.seconds < made.output.seconds
    assert again.plan == made.plan


def test_two_builds_of_a_tree_differ_only_where_the_app_or_docker_makes_them(made: Made, again: Made) -> None:
    first, second = ({entry.path: entry for entry in one.manifest.files} for one in (made, again))
    differing = {path for path in first.keys() | second.keys() if first.get(path) != second.get(path)}
    # a page that prints the time of its build
    differing -= {path for path in differing if path.startswith(".next/server/app/fresh")}
    if Path("/.dockerenv").exists():  # Next.js keeps its preview keys in the build cache, but not in a container
        differing -= {".next/prerender-manifest.json", ".next/server/preview-props.json"}
    assert not differing


def test_an_artifact_in_a_file_is_the_same_artifact(shop: Shop, made: Made, tmp_path: Path) -> None:
    size = package.export(shop.artifacts, made.artifact.name, to=tmp_path / "one.tar.gz")
    package.export(shop.artifacts, made.artifact.name, to=tmp_path / "two.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    assert size == (tmp_path / "one.tar.gz").stat().st_size
    imported, _ = package.import_(tmp_path / "one.tar.gz", artifacts=tmp_path / "artifacts")
    assert imported.name == made.artifact.name
    assert package.load(tmp_path / "artifacts", imported.name) == made.manifest


def test_options_that_decide_the_build_change_its_id(shop: Shop, made: Made, tmp_path: Path) -> None:
    tree = source.checkout(
        SourceRequest(repository=str(shop.repository)), mirrors=shop.state / "mirrors", into=tmp_path / "into"
    )

    def build_id(*, options: Build | None = None, environment: str = "production", **more: str) -> str:
        variables = VARIABLES | more
        return build.plan(tree, options or Build(), app="shop", environment=environment, variables=variables).build_id

    base = build_id()
    assert base == made.plan.build_id
    others = {
        build_id(X="1"), build_id(X="2"), build_id(environment="staging"), build_id(options=Build(node="24")),
        build_id(options=Build(command="npm run other")), build_id(options=Build(install="npm ci --foo")),
    }  # fmt: skip
    assert len(others | {base}) == 7
    assert build_id(options=replace(Build(), timeout=5.0, memory=1)) == base
