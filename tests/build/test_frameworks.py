"""Apps of each kind, for real: installed, built, traced, packaged, and the servers run from their artifact alone.

The smallest apps, and installs that share one store; `tests/matrix` has the rest.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from deployd.domain import options as build_options
from deployd.domain.artifact import FileEntry, StaticSite
from deployd.errors import BuildError
from deployd.stages import build, source, trace
from tests.support import sites
from tests.support.workbench import Made, Workbench, put, snapshot


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def next14(bench: Workbench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lock file and a warm store for the Next.js apps."""
    root = tmp_path_factory.mktemp("next")
    sites.next_pages().write(root)
    bench.lock(root, manager="pnpm")
    return root / "pnpm-lock.yaml"


def put_site(site: sites.Site, root: Path, *, lock: Path | None = None) -> Path:
    site.write(root)
    if lock:
        shutil.copy2(lock, root)
    return root


def paths(made: Made) -> set[str]:
    return {entry.path for entry in made.manifest.files if isinstance(entry, FileEntry)}


@pytest.fixture
def pages(bench: Workbench, next14: Path, tmp_path: Path) -> Made:
    # a lock file above the checkout: Next.js would take its folder for the app's root
    (tmp_path / "package-lock.json").write_text('{"lockfileVersion": 3, "packages": {}}')
    return bench.make(put_site(sites.next_pages(), tmp_path / "root", lock=next14), name="next")


def test_next_with_pages_and_no_config(bench: Workbench, pages: Made, tmp_path: Path) -> None:
    assert (pages.output.kind, pages.output.folder, pages.manifest.entry) == ("next", ".next", "server.js")
    before = snapshot(Path(pages.output.root) / "pages")
    with bench.serve(pages, tmp_path / "release") as served:
        assert served.ask("/")[0] == 200
        assert "hello from pages" in served.ask("/")[1]
        assert json.loads(served.ask("/api/time")[1]) == {"hello": f"v{pages.plan.node}"}
        assert served.ask("/robots.txt") == (200, "# robots\n")
    assert snapshot(Path(pages.output.root) / "pages") == before

    # what CI built is taken as it lies there, and is the same set of files
    tree = source.in_place(Path(pages.output.app_dir))
    plan = build.plan(tree, _no_options(), app="shop", environment="production", variables={})
    taken = build.take(tree, plan)
    assert build.build_id(taken) == pages.plan.build_id
    files = trace.trace(taken, tools=bench.state / "tools")
    assert [file.path for file in files.files] == [file.path for file in pages.files.files]
    # and without node_modules: the standalone tree that CI's build left holds what the server needs, but not the code
    # by which Next.js 14 makes images smaller where there is no sharp
    (Path(taken.app_dir) / "node_modules").rename(tmp_path / "node_modules")
    alone = trace.trace(build.take(tree, plan), tools=bench.state / "tools")
    left = {file.path for file in files.files} - {file.path for file in alone.files}
    assert len(alone.files) + len(left) == len(files.files)
    assert {re.sub(r".*/node_modules/((@[^/]+/)?[^/]+)/.*", r"\1", path) for path in left} <= {"next", "source-map-js"}
    assert len(left) < 40
    shutil.rmtree(Path(taken.app_dir) / ".next" / "standalone")
    with pytest.raises(BuildError) as caught:
        build.take(tree, plan)
    assert caught.value.code == "prebuilt-incomplete"
    (tmp_path / "node_modules").rename(Path(taken.app_dir) / "node_modules")
    shutil.rmtree(Path(taken.app_dir) / ".next")
    with pytest.raises(BuildError) as caught:
        build.take(tree, plan)
    assert caught.value.code == "build-output-missing"


def _no_options() -> build_options.Build:
    return build_options.Build()


def test_a_next_export_is_a_site_below_its_base_path(bench: Workbench, next14: Path, tmp_path: Path) -> None:
    made = bench.make(put_site(sites.next_export(base_path="/docs"), tmp_path / "root", lock=next14), name="next")
    assert made.manifest.static == StaticSite(folder="exported", trailing_slash=True, not_found="docs/404.html")
    assert {"exported/docs/index.html", "exported/docs/about/index.html", "exported/docs/robots.txt"} <= paths(made)
    assert dict(made.manifest.assets) == {"/docs/_next/static": "exported/docs/_next/static"}
    assert not [path for path in paths(made) if "node_modules" in path]


def test_an_export_with_server_only_features_shows_nexts_own_words(
    bench: Workbench, next14: Path, tmp_path: Path
) -> None:
    root = put_site(sites.next_export(), tmp_path / "root", lock=next14)
    put(root, {"pages/live.js": "export default () => null\nexport const getServerSideProps = () => ({ props: {} })\n"})
    with pytest.raises(BuildError) as caught:
        bench.make(root, name="next")
    assert caught.value.code == "build-failed"
    assert "getServerSideProps" in (caught.value.details or "")
    assert "take `output: 'export'` out" in caught.value.fix

    put(root, {"next.config.js": "throw new Error('the config cannot be read today')\n"})
    with pytest.raises(BuildError) as caught:
        bench.make(root, name="next")
    assert caught.value.code == "build-failed"
    assert "the config cannot be read today" in (caught.value.details or "")
    assert "next.config throws" in caught.value.fix


def test_next_with_a_server_of_its_own(bench: Workbench, next14: Path, tmp_path: Path) -> None:
    site = sites.next_custom()
    made = bench.make(put_site(site, tmp_path / "root", lock=next14), name="next")
    assert (made.output.kind, made.output.folder, made.output.entries) == ("node", "made", ("server.js",))
    with bench.serve(made, tmp_path / "release") as served:
        assert served.ask("/own") == (200, "hello from my own server")
        assert "hello from pages" in served.ask("/")[1]
        assert served.ask("/api/time")[0] == 200


def test_express_without_a_build(bench: Workbench, tmp_path: Path) -> None:
    root = put_site(sites.express(), tmp_path / "root")
    bench.lock(root)
    made = bench.make(root, name="express")
    assert (made.plan.command, made.manifest.entry) == ((), "server.js")
    with bench.serve(made, tmp_path / "release") as served:
        assert served.ask("/") == (200, "hello from express")
        assert served.ask("/page") == (200, "<p>a page that is read</p>\n")
        assert served.ask("/style.css") == (200, "body {}\n")


def test_vite_is_a_site_that_answers_every_path(bench: Workbench, tmp_path: Path) -> None:
    root = put_site(sites.vite(), tmp_path / "root")
    bench.lock(root, manager="pnpm")
    made = bench.make(root, name="vite")
    assert made.manifest.static == StaticSite(folder="dist", fallback="index.html")
    assert dict(made.manifest.assets) == {"/assets": "dist/assets"}
    assert {"dist/index.html", "dist/robots.txt"} <= paths(made)


def test_a_folder_of_pages_needs_nothing(bench: Workbench, tmp_path: Path) -> None:
    root = put_site(sites.plain(), tmp_path / "root")
    put(root, {"deployd.toml": 'name = "shop"\n', ".env": "SECRET=1\n", ".well-known/x.txt": "known\n"})
    made = bench.make(root, name="plain")
    assert (made.plan.install, made.plan.command, made.plan.lockfile) == ((), (), "")
    assert {Path(path).relative_to("site").as_posix() for path in paths(made)} == {
        "index.html", "about.html", "404.html", ".well-known/x.txt",
    }  # fmt: skip


@pytest.mark.parametrize("manager", ["npm", "pnpm", "yarn", "bun"])
def test_an_app_of_a_monorepo(bench: Workbench, tmp_path: Path, manager: str) -> None:
    site = sites.monorepo(manager)
    root = put_site(site, tmp_path / "root")
    bench.lock(root, manager=manager)
    made = bench.make(root, site.folder, name=f"mono-{manager}")
    assert made.manifest.entry.startswith("apps/web/")
    installed = [path.name for path in root.rglob("is-odd") if "node_modules" in path.parts]
    assert bool(installed) == (manager == "yarn")  # Yarn cannot install a part and hold to the lock file
    with bench.serve(made, tmp_path / "release") as served:
        assert served.ask("/") == (200, "hello in 1m")


def test_yarns_plug_and_play_gets_its_node_modules_from_outside(bench: Workbench, tmp_path: Path) -> None:
    root = put_site(sites.express(packageManager="yarn@4.5.0"), tmp_path / "root")
    bench.lock(root, manager="yarn")
    put(root, {".pnp.cjs": "throw new Error('committed, and of no use here')\n", ".yarnrc.yml": "nodeLinker: pnp\n"})
    locked = (root / "yarn.lock").read_bytes()
    made = bench.make(root, name="pnp")
    assert (root / "yarn.lock").read_bytes() == locked
    assert "node_modules/express/index.js" in paths(made)
    with bench.serve(made, tmp_path / "release") as served:
        assert served.ask("/") == (200, "hello from express")


def test_a_next_that_is_too_old_is_told_before_anything_is_installed(bench: Workbench, tmp_path: Path) -> None:
    put(tmp_path, {"package.json": sites.package(dependencies={"next": "12.3.4"}), "package-lock.json": "{}"})
    with pytest.raises(BuildError) as caught:
        bench.plan(tmp_path)
    assert (caught.value.code, "13.5" in caught.value.fix) == ("next-unsupported", True)
