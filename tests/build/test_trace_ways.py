"""One Next.js 14.2 app, built for real: its standalone tree, its traces alone, and globs give what Next.js itself gives.

Next.js 16 is compared in test_example.py, all majors in tests/matrix.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from deployd.domain.options import Trace
from deployd.stages import trace
from tests.support import nextsmall
from tests.support.nextsmall import ANSWERS, EXCLUDES, INCLUDES, NextSmall, ask, lay_out, running

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.domain.stages import FileSet

OURS = Trace(
    include=tuple((route, tuple(globs)) for route, globs in INCLUDES.items()),
    exclude=tuple((route, tuple(globs)) for route, globs in EXCLUDES.items()),
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> NextSmall:
    made = NextSmall.make(tmp_path_factory.mktemp("ways") / "shop", major="14")
    made.build(standalone=True)
    return made


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tools")


@pytest.fixture
def without_tree(app: NextSmall) -> object:
    (app.dist / "standalone").rename(app.dist.parent / "standalone-aside")
    yield None
    (app.dist.parent / "standalone-aside").rename(app.dist / "standalone")


def shape(files: FileSet) -> dict[str, str | None]:
    return {file.path: file.symlink for file in files.files}


def same(one: FileSet, two: FileSet) -> None:
    assert shape(one) == shape(two)


def test_the_traces_alone_give_the_files_of_the_standalone_tree(
    app: NextSmall, tools: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    from_tree = trace.trace(app.output(), tools=tools)
    sources = {file.path: (app.folder / file.path).is_file() for file in from_tree.files if file.path != "server.js"}
    assert all(sources.values())  # a standalone tree is copies
    request.getfixturevalue("without_tree")
    assembled = trace.trace(app.output(), tools=tools)

    same(from_tree, assembled)
    assert assembled.entry == "server.js"
    assert dict(assembled.seeded) == {"server-app": ".next/server/app", "server-pages": ".next/server/pages"}
    assert [warning for warning in assembled.warnings if "secrets" not in warning] == []

    with running(lay_out(assembled, tmp_path / "release"), "server.js") as port:
        for path, text in ANSWERS.items():
            status, body = ask(port, path)
            assert (status, text in body) == (200, True), path


def test_globs_of_deployd_toml_do_what_next_does_with_its_own(
    app: NextSmall, tools: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ours = trace.trace(app.output(), options=OURS, tools=tools)
    aside = tmp_path_factory.mktemp("aside") / "next"
    shutil.move(app.dist, aside)
    try:
        app.build(standalone=True, config={
            "outputFileTracingIncludes": INCLUDES, "outputFileTracingExcludes": EXCLUDES,
        })  # fmt: skip
        theirs = trace.trace(app.output(), tools=tools)
    finally:
        shutil.rmtree(app.dist, ignore_errors=True)
        shutil.move(aside, app.dist)

    def lasting(files: FileSet) -> set[str]:
        return {path for path in shape(files) if "/.next/static/" not in f"/{path}"}

    assert lasting(ours) == lasting(theirs)
    assert {"data/words.txt", "data/deep/.dot.txt"} <= lasting(ours)
    assert not [path for path in lasting(ours) if "sonic-boom" in path]


def test_the_way_to_a_file_is_told_from_the_route_on(app: NextSmall, tools: Path) -> None:
    files = trace.trace(app.output(), tools=tools)
    way = trace.chain(files, "node_modules/sonic-boom/index.js", output=app.output(), tools=tools)
    assert way == (
        "/api/hello", ".next/server/app/api/hello/route.js", "node_modules/pino/pino.js",
        "node_modules/pino/lib/tools.js", "node_modules/sonic-boom/index.js",
    )  # fmt: skip


def test_an_app_with_a_server_of_its_own_runs_from_what_was_traced(app: NextSmall, tools: Path, tmp_path: Path) -> None:
    output = app.output(kind="node", folder=".next", entries=("own.js",), include=("public",))
    files = trace.trace(output, tools=tools)
    assert files.entry == "deployd-server.cjs"
    assert {"own.js", "motd.txt"} <= set(shape(files))
    assert not [path for path in shape(files) if path.startswith("node_modules/next/dist/compiled/webpack/bundle")]
    assert not [path for path in shape(files) if path.startswith((".next/cache/", ".next/standalone/"))]

    away = app.folder.with_name("away")
    release = lay_out(files, tmp_path / "release")
    app.folder.rename(away)  # nothing of the checkout may be needed
    try:
        with running(release, files.entry) as port:
            assert ask(port, "/motd")[1] == nextsmall.FILES["motd.txt"]
            for path, text in ANSWERS.items():
                status, body = ask(port, path)
                assert (status, text in body) == (200, True), path
    finally:
        away.rename(app.folder)
