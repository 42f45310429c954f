"""Globs mean what picomatch says: routes and files, with dots, braces, extglobs, negation, brackets and odd names."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployd.stages.trace import includes, programs
from deployd.stages.trace.globs import Questions
from deployd.stages.trace.traces import SERVER, Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUTES = {
    "/": "server/app/page", "/about": "server/app/(site)/about/page", "/api/hello": "server/app/api/hello/route",
    "/api/hello/deep": "server/app/api/hello/deep/route", "/products/[id]": "server/app/products/[id]/page",
    "/login/[[...slug]]": "server/app/login/[[...slug]]/page", "/old": "server/pages/old",
    "/api/old": "server/pages/api/old",
}  # fmt: skip


@pytest.fixture(scope="module")
def picomatch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return programs.picomatch(tmp_path_factory.mktemp("tools"), app_dir=Path("/nowhere"), root=Path("/nowhere"))


def traces() -> list[Trace]:
    found = [
        Trace(name=f"{name}.js.nft.json", routes=(route, f"/app{route}" if "/app/" in name else route), files=())
        for route, name in ROUTES.items()
    ]
    return [*found, Trace(name="next-server.js.nft.json", routes=(SERVER,), files=())]


def excluded_for(route_glob: str, picomatch: Path, tmp_path: Path) -> set[str]:
    """The routes that a route glob of an exclude reaches."""
    rule = includes.Rule(route=route_glob, glob="x.txt", origin="trace.exclude")
    (tmp_path / "tools").mkdir(exist_ok=True)
    link = tmp_path / "tools" / programs.folder_name()
    if not link.exists():
        link.symlink_to(picomatch.parents[1])
    applied = includes.apply(
        includes.Rules(exclude=(rule,)), traces=traces(), files=["x.txt"], app_dir=tmp_path, root=tmp_path,
        tools=tmp_path / "tools",
    )  # fmt: skip
    names = {trace.name: trace.routes[0] for trace in traces()}
    return {names[name] for name in applied.excluded.get("x.txt", ())}


EVERY = set(ROUTES)


@pytest.mark.parametrize(
    ("glob", "routes"),
    [
        ("/*", EVERY),
        ("**", EVERY | {SERVER}),
        ("*", EVERY | {SERVER}),
        ("next-server", {SERVER}),
        ("/about", {"/about"}),
        ("/api/hello", {"/api/hello", "/api/hello/deep"}),  # Next.js lets a glob match a part
        ("/api/*", {"/api/hello", "/api/hello/deep", "/api/old"}),
        ("/api/**/deep", {"/api/hello/deep"}),
        ("/{about,old}", {"/about", "/old", "/api/old"}),
        ("/@(about|nothing)", {"/about"}),
        ("/products/[id]", {"/products/[id]"}),  # picomatch takes simple brackets for both
        ("/products/[iI]d", set()),
        (r"/products/\[id\]", {"/products/[id]"}),
        (r"/login/\[\[\.\.\.slug\]\]", {"/login/[[...slug]]"}),
        ("/nothing", set()),
    ],
)
def test_route_globs(picomatch: Path, tmp_path: Path, glob: str, routes: set[str]) -> None:
    assert excluded_for(glob, picomatch, tmp_path) == routes


FILES = [
    "a.txt", ".dot.txt", "data/a.json", "data/.hidden/b.json", "data/deep/er/c.txt", "src/i18n/de.json", "src/i18n/en.json",
    "[slug]/x.txt", "new\nline.txt", "quo'te\".txt", "grün/ä.txt", os.fsdecode(b"not-\xff.txt"), "node_modules/x/index.js",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("globs [x]") / "app (1)"
    for path in [*FILES, "../shared/s.txt"]:
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text("x")
    return top


def walk(glob: str, folder: Path, picomatch: Path) -> set[str]:
    asked = Questions()
    asked.walk(glob, folder=folder)
    return set(asked.answer(picomatch=picomatch, root=folder).walk[0])


@pytest.mark.parametrize(
    ("glob", "found"),
    [
        ("*.txt", {"a.txt", ".dot.txt", "new\nline.txt", "quo'te\".txt", os.fsdecode(b"not-\xff.txt")}),
        ("./data/**", {"data/a.json", "data/.hidden/b.json", "data/deep/er/c.txt"}),
        ("data/**/*.txt", {"data/deep/er/c.txt"}),
        ("data", set()),
        ("a.txt", {"a.txt"}),
        ("./a.txt", {"a.txt"}),
        ("gone.txt", set()),
        ("gone/**", set()),
        ("src/i18n/{de,en}.json", {"src/i18n/de.json", "src/i18n/en.json"}),
        ("src/i18n/!(de).json", {"src/i18n/en.json"}),
        ("src/i18n/?(d)e.json", {"src/i18n/de.json"}),
        ("src/**/[d-f]?.json", {"src/i18n/de.json", "src/i18n/en.json"}),
        (r"\[slug\]/*", {"[slug]/x.txt"}),
        (r"\[slug\]/x.txt", {"[slug]/x.txt"}),
        ("grün/*", {"grün/ä.txt"}),
        ("../shared/*", {"../shared/s.txt"}),
        ("../shared/s.txt", {"../shared/s.txt"}),
        ("!**/*.txt", {"data/a.json", "data/.hidden/b.json", "src/i18n/de.json", "src/i18n/en.json", "node_modules/x/index.js"}),
    ],
)  # fmt: skip
def test_file_globs(picomatch: Path, folder: Path, glob: str, found: set[str]) -> None:
    assert walk(glob, folder, picomatch) == found


PIECES = st.sampled_from([
    "*", "**", "?", "/", "a", ".", "data", "src", "i18n", "de", "txt", "json", "[a-z]", "[!a]", "{a,de}", "+(a|d)", "!(de)", ".*",
    "**/", "*.json", "deep", "\\[",
])  # fmt: skip


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(globs=st.lists(st.lists(PIECES, min_size=1, max_size=5).map("".join), min_size=20, max_size=20))
def test_any_glob_finds_what_picomatch_matches_among_all_files(picomatch: Path, folder: Path, globs: list[str]) -> None:
    usable = [glob for glob in globs if not glob.startswith(("/", "."))]
    asked = Questions()
    for glob in usable:
        asked.walk(glob, folder=folder)
    told = asked.answer(picomatch=picomatch, root=folder).walk
    for glob, expected, found in zip(usable, _direct(usable, picomatch), told, strict=True):
        assert set(found) == expected, glob


def _direct(globs: Sequence[str], picomatch: Path) -> list[set[str]]:
    code = (
        "const p = require(process.argv[1]); const { globs, files } = JSON.parse(require('fs').readFileSync(0));"
        "console.log(JSON.stringify(globs.map((g) => files.filter((file) => p(g, { dot: true })(file)))))"
    )
    question = json.dumps({"globs": globs, "files": FILES})
    done = subprocess.run(
        ["node", "-e", code, str(picomatch)], input=question.encode(), capture_output=True, check=True
    )
    return [{os.fsdecode(os.fsencode(path)) for path in found} for found in json.loads(done.stdout)]


@pytest.mark.parametrize(
    ("glob", "excluded"),
    [
        ("data/**", {"data/a.json", "data/.hidden/b.json", "data/deep/er/c.txt"}),
        ("./data/**/*.txt", {"data/deep/er/c.txt"}),
        ("data", {"data/a.json", "data/.hidden/b.json", "data/deep/er/c.txt"}),  # a part is enough, as for Next.js
        ("node_modules/x", {"node_modules/x/index.js"}),
        ("**/*.json", {"data/a.json", "data/.hidden/b.json", "src/i18n/de.json", "src/i18n/en.json"}),
    ],
)
def test_excludes_are_matched_from_the_apps_folder(
    picomatch: Path, folder: Path, tmp_path: Path, glob: str, excluded: set[str]
) -> None:
    (tmp_path / programs.folder_name()).symlink_to(picomatch.parents[1])
    rules = includes.Rules(exclude=(includes.Rule(route="/*", glob=glob, origin="trace.exclude"),))
    applied = includes.apply(rules, traces=None, files=FILES, app_dir=folder, root=folder, tools=tmp_path)
    assert set(applied.excluded) == excluded


@pytest.mark.parametrize(
    ("routes", "added"),
    [
        (("/*", "/*"), {"data/a.json", "data/.hidden/b.json"}),  # a folder, and not all of it
        (("/about", "/*"), {"data/a.json", "data/.hidden/b.json"}),
        (("/about", "/old"), {"data/a.json", "data/.hidden/b.json", "data/deep/er/c.txt"}),  # another route's
        (("/*", "/about"), {"data/a.json", "data/.hidden/b.json", "data/deep/er/c.txt"}),  # the others keep it
    ],
)
def test_an_exclude_counts_for_what_the_same_routes_include(
    picomatch: Path, folder: Path, tmp_path: Path, routes: tuple[str, str], added: set[str]
) -> None:
    (tmp_path / programs.folder_name()).symlink_to(picomatch.parents[1])
    include, exclude = routes
    rules = includes.Rules(
        include=(includes.Rule(route=include, glob="data/**", origin="trace.include"),),
        exclude=(includes.Rule(route=exclude, glob="data/deep", origin="trace.exclude"),),
    )
    for known in ([], ["data/deep/er/c.txt"]):  # Next.js's build may have included it itself
        applied = includes.apply(rules, traces=traces(), files=known, app_dir=folder, root=folder, tools=tmp_path)
        assert {path for path in applied.added if path.startswith("data/")} == added
        assert applied.warnings == ()
        assert set(applied.excluded) == {"data/deep/er/c.txt"}
