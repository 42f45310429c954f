"""Where a build's pages lie when its script or its configuration says so, and servers that are a package's command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployd.domain.ids import BuildId
from deployd.domain.stages import BuildPlan
from deployd.errors import BuildError
from deployd.stages.build import outcome

if TYPE_CHECKING:
    from deployd.stages.build.left import Left


def left(
    folder: Path, framework: str, package: dict[str, Any], *places: str, text: tuple[str, str] = ("x", "")
) -> Left:
    (folder / "package.json").write_text(json.dumps(package))
    for place in places:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text("")
    (folder / text[0]).parent.mkdir(parents=True, exist_ok=True)
    (folder / text[0]).write_text(text[1])
    plan = BuildPlan(
        framework=framework, framework_version=None, manager="npm", manager_version=None, install=(),
        command=("npm", "run", "build"), node="22.23.3", lockfile="", lockfile_sha256="", build_id=BuildId("b" + "0" * 20),
    )  # fmt: skip
    return outcome.find(plan, app_dir=folder, root=folder, log=Path("/log"))


@pytest.mark.parametrize(
    ("script", "folder"),
    [
        ("vite build --outDir site-out", "site-out"),
        ("tsc && vite build --outDir=./site-out/", "site-out"),
        ("parcel build src/index.html --dist-dir 'site-out'", "site-out"),
        ("eleventy --output=site-out", "site-out"),
        ("docusaurus build --out-dir ../away", "dist"),
        ("vite build", "dist"),
    ],
)
def test_the_folder_that_the_build_script_names(tmp_path: Path, script: str, folder: str) -> None:
    found = left(tmp_path, "static", {"scripts": {"build": script}}, "site-out/index.html", "dist/index.html")
    assert found.folder == folder


@pytest.mark.parametrize(
    ("at", "said", "folder"),
    [("docs/", "../site-out", "site-out"), ("", "./www", "www"), ("docs/", "out", "docs/out")],
)
def test_the_folder_of_vitepress_own_configuration(tmp_path: Path, at: str, said: str, folder: str) -> None:
    config = (f"{at}.vitepress/config.mts", f"export default defineConfig({{ outDir: '{said}' }})")
    assert left(tmp_path, "static", {}, f"{folder}/index.html", "public/index.html", text=config).folder == folder


def test_a_server_that_is_a_packages_command_gets_all_that_it_may_load(tmp_path: Path) -> None:
    package = {"scripts": {"start": "json-server db.json --port $PORT"}}
    bins = ("node_modules/json-server/package.json", '{"bin": {"json-server": "lib/cli.js"}}')
    found = left(tmp_path, "node", package, "db.json", "node_modules/json-server/lib/cli.js", text=bins)
    assert found.entries == ("deployd-start.cjs", "node_modules/json-server/lib/cli.js", "db.json")
    assert found.include == (".", "node_modules")


@pytest.mark.parametrize(
    ("framework", "name", "config", "base"),
    [
        ("astro", "astro.config.mjs", "base: '/b'", "b"),
        ("static", "vite.config.ts", 'base: "/b/c/"', "b/c"),
        ("static", "vite.config.ts", "base: './'", ""),
    ],
)
def test_a_site_whose_first_page_names_no_file_stands_where_its_configuration_says(
    tmp_path: Path, framework: str, name: str, config: str, base: str
) -> None:
    found = left(tmp_path, framework, {}, "dist/index.html", "dist/404.html", text=(name, config))
    assert found.static is not None
    assert (found.base, found.static.not_found) == (base, f"{base}/404.html" if base else "404.html")
    (tmp_path / "dist" / "a.js").write_text("")
    (tmp_path / "dist" / "index.html").write_text('<script src="/a.js">')
    assert left(tmp_path, framework, {}, text=(name, config)).base == ""


def test_pages_of_a_package_below_that_the_build_script_made(tmp_path: Path) -> None:
    inner = ("client/package.json", '{"devDependencies": {"vite": "6"}}')
    found = left(tmp_path, "static", {}, "client/dist/index.html", "node_modules/dist/index.html", text=inner)
    assert found.static is not None
    assert (found.folder, found.static.fallback) == ("client/dist", "index.html")
    with pytest.raises(BuildError):
        left(tmp_path, "static", {}, "admin/dist/index.html", "admin/package.json")
