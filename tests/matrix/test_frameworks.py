"""The wider matrix of real apps (`make test-matrix`): each is locked, installed, built, packaged and run from its artifact.

Lock files are pnpm's here: npm leaves packages for other platforms out of one that it makes where its registry lacks them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import sites
from tests.support.workbench import Workbench

if TYPE_CHECKING:
    from pathlib import Path

LINES = tuple(sites.NEXT)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(tmp_path_factory.mktemp("state"))


def runs(bench: Workbench, site: sites.Site, tmp_path: Path, *, name: str, manager: str = "pnpm") -> None:
    root = tmp_path / "root"
    site.write(root)
    bench.lock(root, manager=manager)
    before = {path: (root / path).read_text() for path in site.files}
    made = bench.make(root, site.folder, name=name)
    assert before == {path: (root / path).read_text() for path in site.files if (root / path).is_file()}
    with bench.serve(made, tmp_path / "release") as served:
        status, text = served.ask(site.probe[0])
        assert status == 200
        assert site.probe[1] in text


@pytest.mark.parametrize("line", LINES)
def test_next_with_the_app_router(bench: Workbench, tmp_path: Path, line: str) -> None:
    runs(bench, sites.next_app(line), tmp_path, name=f"app-{line}")


@pytest.mark.parametrize("line", LINES)
def test_next_with_the_pages_router(bench: Workbench, tmp_path: Path, line: str) -> None:
    runs(bench, sites.next_pages(line), tmp_path, name=f"pages-{line}")


@pytest.mark.parametrize("line", LINES)
def test_next_that_says_standalone_itself_in_a_folder_of_its_own(bench: Workbench, tmp_path: Path, line: str) -> None:
    config = "module.exports = { output: 'standalone', distDir: 'made/next' }\n"
    runs(bench, sites.next_pages(line, config=config), tmp_path, name=f"standalone-{line}")


@pytest.mark.parametrize("line", LINES)
def test_next_with_a_server_of_its_own(bench: Workbench, tmp_path: Path, line: str) -> None:
    runs(bench, sites.next_custom(line), tmp_path, name=f"custom-{line}")


@pytest.mark.parametrize("line", LINES)
def test_next_as_an_export(bench: Workbench, tmp_path: Path, line: str) -> None:
    root = sites.next_export(line, base_path="/docs").write(tmp_path)
    bench.lock(root, manager="pnpm")
    made = bench.make(root, name=f"export-{line}")
    assert made.manifest.static is not None
    assert made.manifest.static.trailing_slash
    assert "exported/docs/about/index.html" in {entry.path for entry in made.manifest.files}


@pytest.mark.parametrize("manager", ["npm", "pnpm", "yarn", "bun"])
def test_next_in_a_workspace(bench: Workbench, tmp_path: Path, manager: str) -> None:
    line = "14.2" if manager == "npm" else "16"
    runs(bench, sites.monorepo(manager, next_line=line), tmp_path, name=f"mono-{manager}", manager=manager)


def test_next_in_a_workspace_with_turborepo(bench: Workbench, tmp_path: Path) -> None:
    runs(bench, sites.monorepo("pnpm", next_line="16", turbo=True), tmp_path, name="turbo")


@pytest.mark.parametrize(
    ("name", "site"),
    [
        ("express", sites.express()),
        ("fastify", sites.fastify()),
        ("nest", sites.nest()),
        ("nuxt", sites.nuxt()),
        ("astro", sites.astro(server=True)),
        ("sveltekit", sites.sveltekit()),
        ("react-router", sites.react_router()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_servers_of_other_frameworks(bench: Workbench, tmp_path: Path, name: str, site: sites.Site) -> None:
    runs(bench, site, tmp_path, name=name)


@pytest.mark.parametrize(
    ("name", "site", "folder"),
    [
        ("vite", sites.vite(), "dist"),
        ("eleventy", sites.eleventy(), "_site"),
        ("astro-pages", sites.astro(server=False), "dist"),
        ("sveltekit-pages", sites.sveltekit(adapter="static"), "build"),
        ("react-router-pages", sites.react_router(ssr=False), "build/client"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_sites_of_other_frameworks(bench: Workbench, tmp_path: Path, name: str, site: sites.Site, folder: str) -> None:
    root = site.write(tmp_path)
    bench.lock(root, manager="pnpm")
    made = bench.make(root, name=name)
    assert made.manifest.static is not None
    assert made.manifest.static.folder == folder
    assert f"{folder}/index.html" in {entry.path for entry in made.manifest.files}
