"""Sets of files from builds without a standalone tree, of sites without a server, and what is told about them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployd.domain.artifact import StaticSite
from deployd.domain.ids import BuildId
from deployd.domain.options import Trace
from deployd.domain.stages import BuildOutput, BuildPlan, FileSet, TracedFile
from deployd.errors import PackageError
from deployd.stages.trace import includes, programs, regenerated, trace, traces
from deployd.stages.trace.found import Found

PLAN = BuildPlan(
    framework="nextjs", framework_version="14.2.35", manager="npm", manager_version=None, install=(), command=(),
    node="22.23.3", lockfile="", lockfile_sha256="", build_id=BuildId("b" + "0" * 20),
)  # fmt: skip


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def put(path: Path, data: Any) -> None:
    write(path, json.dumps(data))


def paths(files: FileSet) -> list[str]:
    return [file.path for file in files.files]


class Built:
    """A distDir with traces, and no standalone tree."""

    def __init__(self, root: Path, place: str = "") -> None:
        self.root, self.place = root, place
        self.app = root / place
        self.dist = self.app / ".next"
        self.up = "../" * (1 + len(Path(place).parts))
        config = {"output": "standalone", "distDir": ".next", "x": "ü"}
        put(self.dist / "required-server-files.json", {
            "relativeAppDir": place, "files": [".next/BUILD_ID", ".next/not-there.json"], "config": config,
        })  # fmt: skip
        put(self.app / "package.json", {"name": "shop"})
        for name in ("BUILD_ID", "server/app/page.js", "server/app/about.html", "server/chunks/1.js", "cache/x"):
            write(self.dist / name)
        put(root / "node_modules/next/package.json", {"version": "14.2.35"})
        for name in ("next/server.js", "pino/pino.js", "pino/lib/x.js"):
            write(root / "node_modules" / name)
        self.trace("next-server.js", "node_modules/next/server.js", "node_modules/next/package.json")
        self.trace("server/app/page.js", "node_modules/pino/pino.js", here=["../chunks/1.js"])

    def trace(self, name: str, *needed: str, here: list[str] | None = None, **more: Any) -> None:
        """A trace of files of the root, and of `here`: relative to the trace."""
        up = self.up + "../" * name.count("/")
        put(
            self.dist / f"{name}.nft.json",
            {"version": 1, "files": [up + path for path in needed] + (here or []), **more},
        )

    def output(self, **fields: Any) -> BuildOutput:
        where = {"root": str(self.root), "app_dir": str(self.app)}
        return BuildOutput(**where, plan=PLAN, built=1, log="", seconds=0.0, **fields)

    def found(self, options: Trace | None = None, **fields: Any) -> FileSet:
        return trace(self.output(**fields), options=options or Trace(), tools=self.root.parent / "tools")


@pytest.fixture(params=["", "apps/web"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Built:
    return Built(tmp_path / "repo", request.param)


def test_traces_and_what_is_copied_besides(built: Built) -> None:
    files = built.found()
    below = f"{built.place}/" if built.place else ""
    assert [path.removeprefix(below) for path in paths(files)] == sorted([
        ".next/BUILD_ID", ".next/required-server-files.json", ".next/server/app/about.html",
        ".next/server/app/page.js", ".next/server/app/page.js.nft.json", ".next/server/chunks/1.js",
        "package.json", "server.js",
        "node_modules/next/package.json", "node_modules/next/server.js", "node_modules/pino/pino.js",
    ], key=lambda path: path if path.startswith("node_modules") else below + path)  # fmt: skip
    assert files.entry == f"{below}server.js"
    assert files.warnings == ()
    why = {file.path: file.reasons for file in files.files}
    assert why["node_modules/pino/pino.js"] == ("needed by /",)
    assert why["node_modules/next/server.js"] == ("needed by the server",)
    assert why[f"{below}server.js"] == ("made by deployd",)


def test_the_server_is_made_like_next_makes_it_and_nothing_is_written_to_the_app(built: Built) -> None:
    before = sorted(str(path) for path in built.root.rglob("*"))
    files = built.found()
    server = next(file for file in files.files if file.path == files.entry)
    text = Path(server.source).read_text()
    assert '"distDir": "./.next"' in text
    assert "__NEXT_PRIVATE_STANDALONE_CONFIG" in text
    assert "require(" in text
    assert "import " not in text
    assert sorted(str(path) for path in built.root.rglob("*")) == before
    assert built.found() == files

    put(built.app / "package.json", {"type": "module"})
    server = next(file for file in built.found().files if file.path == files.entry)
    assert "import.meta.url" in Path(server.source).read_text()


def test_a_build_without_any_trace_of_its_server_is_refused(built: Built) -> None:
    (built.dist / "next-server.js.nft.json").unlink()
    with pytest.raises(PackageError) as caught:
        built.found()
    assert caught.value.code == "standalone-incomplete"


def test_a_build_without_its_packages_is_refused(built: Built) -> None:
    built.trace("next-server.js", "node_modules/next/dist/server/next.js")
    with pytest.raises(PackageError, match="next/dist/server/next") as caught:
        built.found()
    assert caught.value.code == "packages-missing"


def test_routes_of_the_edge_need_their_own_files_only(built: Built) -> None:
    functions = {"/edge": {"files": ["server/edge/a.js"], "wasm": [{"filePath": "server/edge/a.wasm"}], "assets": []}}
    put(built.dist / "server/middleware-manifest.json", {"middleware": {}, "functions": functions})
    for name in ("server/edge/a.js", "server/edge/a.wasm", "server/edge/b.js"):
        write(built.dist / name)
    built.trace("server/app/edge/route.js", "node_modules/pino/lib/x.js")
    found = paths(built.found())
    assert [path for path in found if "edge/a" in path or "edge/b" in path or "lib/x" in path] == [
        f"{built.place}/.next/server/edge/{name}".lstrip("/") for name in ("a.js", "a.wasm")
    ]


def test_middleware_on_node_and_instrumentation_count(built: Built) -> None:
    write(built.dist / "server/middleware.js")
    built.trace("server/middleware.js", "node_modules/pino/lib/x.js")
    built.trace("server/instrumentation.js", here=["instrumentation.js"])
    write(built.dist / "server/instrumentation.js")
    found = {path.removeprefix(f"{built.place}/") for path in paths(built.found())}
    assert {".next/server/middleware.js", ".next/server/instrumentation.js", "node_modules/pino/lib/x.js"} <= found


def test_links_that_a_trace_leads_through_are_kept(tmp_path: Path) -> None:
    built = Built(tmp_path / "repo")
    write(built.root / "node_modules/.pnpm/a@1/node_modules/a/index.js")
    (built.root / "node_modules/a").symlink_to(".pnpm/a@1/node_modules/a")
    (built.root / "node_modules/b").symlink_to(built.root / "node_modules/a")  # absolute, and inside
    built.trace("server/app/x/page.js", "node_modules/a/index.js", "node_modules/b/index.js")
    files = {file.path: file.symlink for file in built.found().files}
    assert files["node_modules/a"] == ".pnpm/a@1/node_modules/a"
    assert files["node_modules/b"] == "a"
    assert files["node_modules/.pnpm/a@1/node_modules/a/index.js"] is None
    assert "node_modules/a/index.js" not in files


def test_links_and_further_roots_that_the_trace_itself_tells(tmp_path: Path) -> None:
    built = Built(tmp_path / "repo")
    write(tmp_path / "store/one/lib.js", "one")
    (built.root / "node_modules/linked").symlink_to("/nowhere")
    built.trace(
        "server/app/x/page.js", "node_modules/linked",
        symlinks=[[0, "lib.js", 0]],
        additionalRoots=[{"name": "store", "path": "../../../../../store/one", "files": ["lib.js"]}],
    )  # fmt: skip
    files = {file.path: file for file in built.found().files}
    assert files["node_modules/linked"].symlink == "../next_additional_roots/store/lib.js"
    assert Path(files["next_additional_roots/store/lib.js"].source).read_text() == "one"


def test_a_trace_of_another_shape_is_an_error_that_names_it(built: Built) -> None:
    built.trace("server/app/x/page.js", additionalRoots=[{"files": []}])
    with pytest.raises(PackageError, match=r"server/app/x/page\.js\.nft\.json") as caught:
        built.found()
    assert caught.value.code == "trace-unreadable"


def test_what_a_trace_names_outside_of_the_root_is_told(built: Built) -> None:
    outside = write(built.root.parent / "outside.js")
    built.trace("server/app/x/page.js", "../outside.js", "../not-there.js")
    files = built.found()
    assert files.warnings == (f"outside of the root of tracing, and left out: {outside}",)
    assert not [path for path in paths(files) if "outside" in path]


def test_another_root_is_taken_when_deployd_toml_says_so(tmp_path: Path) -> None:
    built = Built(tmp_path / "repo", "apps/web")
    files = built.found(Trace(root="apps/web"))
    assert files.root == str(built.app)
    assert files.entry == "server.js"
    assert not [path for path in paths(files) if path.startswith("node_modules/")]
    assert [warning for warning in files.warnings if "outside of the root" in warning]
    with pytest.raises(PackageError) as caught:
        built.found(Trace(root="apps/other"))
    assert caught.value.code == "trace-root"


def test_source_maps_travel_only_when_asked_for(built: Built) -> None:
    for name in ("server/app/page.js.map", "server/chunks/1.js.map", "static/chunks/a.js", "static/chunks/a.js.map"):
        write(built.dist / name)
    built.trace("server/app/y/page.js", here=["../../chunks/1.js.map"])
    assert not [path for path in paths(built.found()) if path.endswith(".map")]
    with_maps = trace(built.output(), source_maps=True, tools=built.root.parent / "tools")
    assert len([path for path in paths(with_maps) if path.endswith(".map")]) == 3


# What is regenerated in place


@pytest.mark.parametrize(
    ("major", "manifest", "code", "seeded"),
    [
        (14, {"routes": {"/a": {"initialRevalidateSeconds": 60}}}, "", True),
        (13, {"routes": {"/a": {"initialRevalidateSeconds": 60}}}, "", True),
        (15, {"routes": {"/a": {"initialRevalidateSeconds": 60}}}, "", False),
        (0, {"routes": {"/a": {"initialRevalidateSeconds": 60}}}, "", False),
        (14, {"routes": {"/a": {"initialRevalidateSeconds": False}}}, "", False),
        (14, {"routes": {"/a": {"initialRevalidateSeconds": False}}}, "revalidatePath('/a')", True),
        (14, {"routes": {"/favicon.ico": {"initialRevalidateSeconds": False}}}, "revalidatePath('/a')", False),
        (14, {"dynamicRoutes": {"/[slug]": {"fallback": False}}}, "", False),
        (14, {"dynamicRoutes": {"/[slug]": {"fallback": None}}}, "", True),
        (14, {"dynamicRoutes": {"/[slug]": {"fallback": "/[slug].html"}}}, "", True),
        (14, {}, "revalidateTag()", False),
    ],
)  # fmt: skip
def test_pages_are_made_anew_in_place(
    tmp_path: Path,
    major: int,
    manifest: dict[str, Any],
    code: str,
    seeded: bool,  # noqa: FBT001
) -> None:
    put(tmp_path / "prerender-manifest.json", manifest)
    write(tmp_path / "server/app/x/route.js", code)
    assert regenerated.in_place(tmp_path, major=major) is seeded


def test_seeded_folders_are_those_that_are_there(built: Built) -> None:
    put(built.dist / "prerender-manifest.json", {"routes": {"/": {"initialRevalidateSeconds": 1}}})
    below = f"{built.place}/" if built.place else ""
    assert dict(built.found().seeded) == {"server-app": f"{below}.next/server/app"}
    put(built.root / "node_modules/next/package.json", {"version": "15.5.29"})
    assert dict(built.found().seeded) == {}


# Sites


def site(folder: Path, *, name: str = "out", **fields: Any) -> FileSet:
    output = BuildOutput(
        root=str(folder), app_dir=str(folder), plan=replace(PLAN, framework="static"), built=1, log="", seconds=0.0,
        kind="static", folder=name, **fields,
    )  # fmt: skip
    return trace(output, tools=folder.parent / "tools")


def test_a_site_is_all_files_of_its_folder(tmp_path: Path) -> None:
    for name in ("index.html", "_next/static/a.js", "_next/static/a.js.map", "assets/x.css", ".env", "sub/404.html"):
        write(tmp_path / "out" / name)
    write(tmp_path / "package.json")
    files = site(tmp_path, static=StaticSite(folder="out", trailing_slash=True))
    assert paths(files) == [
        f"out/{name}" for name in ("_next/static/a.js", "assets/x.css", "index.html", "sub/404.html")
    ]
    assert (files.entry, files.static) == ("", StaticSite(folder="out", trailing_slash=True))
    assert dict(files.assets) == {"/_next/static": "out/_next/static"}
    assert [warning for warning in files.warnings if ".env" in warning]


def test_hashed_assets_of_vite_are_known_by_all_their_names(tmp_path: Path) -> None:
    write(tmp_path / "out/assets/index-DiwrgTda.js")
    write(tmp_path / "out/_astro/page.CqRZ1x2b.css")
    assert dict(site(tmp_path).assets) == {"/_astro": "out/_astro", "/assets": "out/assets"}
    write(tmp_path / "out/assets/logo.png")
    assert dict(site(tmp_path).assets) == {"/_astro": "out/_astro"}
    named = site(tmp_path, assets={"/static": "out/assets", "/gone": "out/gone"})
    assert dict(named.assets) == {"/static": "out/assets"}


def test_a_site_below_a_base_path_lies_there(tmp_path: Path) -> None:
    write(tmp_path / "out/index.html")
    write(tmp_path / "out/_next/static/a.js")
    files = site(tmp_path, base="docs", assets={"/docs/_next/static": "out/_next/static"})
    assert paths(files) == ["out/docs/_next/static/a.js", "out/docs/index.html"]
    assert dict(files.assets) == {"/docs/_next/static": "out/docs/_next/static"}
    assert files.static == StaticSite(folder="out")


def test_a_folder_that_is_the_site_itself_keeps_its_own_things(tmp_path: Path) -> None:
    for name in (
        "index.html", "node_modules/x/y.js", "deployd.toml", "package.json", ".git/HEAD", ".well-known/x",
        "sub/package.json", ".hidden",
    ):  # fmt: skip
        write(tmp_path / "app" / name)
    files = site(tmp_path / "app", name=".", static=StaticSite(folder="."))
    assert paths(files) == ["site/.well-known/x", "site/index.html", "site/sub/package.json"]
    assert files.static == StaticSite(folder="site")


def test_an_empty_site_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(PackageError) as caught:
        site(tmp_path)
    assert caught.value.code == "site-empty"
    with pytest.raises(PackageError):
        site(tmp_path, name="gone")


def test_a_link_in_a_site_stays_inside(tmp_path: Path) -> None:
    write(tmp_path / "secret")
    write(tmp_path / "out/a.html")
    (tmp_path / "out/b.html").symlink_to("a.html")
    assert [file.symlink for file in site(tmp_path).files] == [None, "a.html"]
    (tmp_path / "out/c").symlink_to("../secret")
    with pytest.raises(PackageError, match="'out/c'"):
        site(tmp_path)


# Names, sizes, circles


def test_odd_names_and_a_large_file(tmp_path: Path) -> None:
    names = ["new\nline.txt", "quo\"te's.txt", os.fsdecode(b"not-\xff-utf8.txt"), "grün.txt"]
    for name in names:
        write(tmp_path / "out" / name)
    with (tmp_path / "out/large.bin").open("wb") as large:
        large.truncate(300_000_000)
    files = site(tmp_path)
    assert set(paths(files)) == {f"out/{name}" for name in [*names, "large.bin"]}
    assert [warning for warning in files.warnings if "large" in warning] == [
        "a large file, which every host gets: out/large.bin (286 MB)"
    ]


def test_a_copied_folder_is_not_replaced_by_a_link(tmp_path: Path) -> None:
    found = Found()
    found.add([TracedFile(path="a/b.js", source=str(write(tmp_path / "b.js")), size=1)])
    assert found.add([TracedFile(path="a", source=str(tmp_path), size=0, symlink="c")]) == []
    found.drop("a/b.js")
    assert not found.below("a")
    assert found.add([TracedFile(path="a", source=str(tmp_path), size=0, symlink="c")]) == ["a"]
    assert found.has("a/anything")
    assert found.warnings() == ("a link to what does not travel: a -> c",)


# Options of next.config, and the tool


def test_rules_of_next_config_are_read_from_either_place() -> None:
    new = includes.of_next({"outputFileTracingIncludes": {"/a": ["x", "y"]}, "outputFileTracingExcludes": {"*": ["z"]}})
    assert [(rule.route, rule.glob) for rule in (*new.include, *new.exclude)] == [("/a", "x"), ("/a", "y"), ("*", "z")]
    old = includes.of_next({"experimental": {"outputFileTracingIncludes": {"/a": ["x"]}}})
    assert [str(rule) for rule in old.include] == ['outputFileTracingIncludes, "/a": "x"']
    assert not includes.of_next({})


@pytest.mark.parametrize(
    ("trace_name", "routes"),
    [
        ("next-server.js.nft.json", ("next-server",)),
        ("server/app/page.js.nft.json", ("/", "/app")),
        ("server/app/api/hello/route.js.nft.json", ("/api/hello", "/app/api/hello")),
        ("server/app/(shop)/@modal/[[...slug]]/page.js.nft.json", ("/[[...slug]]", "/app/[[...slug]]")),
        ("server/pages/index.js.nft.json", ("/", "/index")),
        ("server/pages/blog/[id].js.nft.json", ("/blog/[id]", "/blog/[id]")),
        ("server/middleware.js.nft.json", ()),
    ],
)
def test_the_route_of_a_trace(tmp_path: Path, trace_name: str, routes: tuple[str, ...]) -> None:
    put(tmp_path / trace_name, {"files": []})
    assert traces.read_one(tmp_path / trace_name, name=trace_name, root=tmp_path).routes == routes


def test_the_tool_is_pinned_with_the_hash_of_each_package() -> None:
    here = Path(programs.__file__).parent / "tool"
    lock = json.loads((here / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages["node_modules/@vercel/nft"]["version"] == programs.version()
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert not [name for name, entry in packages.items() if "resolved" in entry]
