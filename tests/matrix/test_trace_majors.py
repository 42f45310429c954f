"""Every supported major of Next.js: its traces give the files of its standalone tree, and a build made without one too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployd.domain.options import Trace
from deployd.stages import trace
from tests.support.nextsmall import ANSWERS, EXCLUDES, INCLUDES, MAJORS, NextSmall, ask, lay_out, running

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.domain.stages import FileSet

OURS = Trace(
    include=tuple((route, tuple(globs)) for route, globs in INCLUDES.items()),
    exclude=tuple((route, tuple(globs)) for route, globs in EXCLUDES.items()),
)


@pytest.fixture(scope="module", params=MAJORS)
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NextSmall:
    return NextSmall.make(tmp_path_factory.mktemp("majors") / "shop", major=request.param)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tools")


def lasting(files: FileSet) -> dict[str, str | None]:
    """All but the hashed assets, whose names hold the build id."""
    return {file.path: file.symlink for file in files.files if "/.next/static/" not in f"/{file.path}"}


def answers(files: FileSet, into: Path, away: Path) -> None:
    """Run what was traced, alone, without the checkout."""
    release = lay_out(files, into)
    away.rename(away.with_name("away"))
    try:
        with running(release, files.entry) as port:
            for path, text in ANSWERS.items():
                status, body = ask(port, path)
                assert (status, text in body) == (200, True), path
    finally:
        away.with_name("away").rename(away)


def test_three_ways_to_the_same_files(app: NextSmall, tools: Path, tmp_path: Path) -> None:
    app.build(standalone=True)
    from_tree = trace.trace(app.output(), tools=tools)
    ours = lasting(trace.trace(app.output(), options=OURS, tools=tools))
    (app.dist / "standalone").rename(tmp_path / "standalone")

    from_traces = trace.trace(app.output(), tools=tools)
    assert lasting(from_tree) == lasting(from_traces)
    answers(from_traces, tmp_path / "release", app.folder)
    output = app.output(kind="node", folder=".next", entries=("own.js",), include=("public",))
    answers(trace.trace(output, tools=tools), tmp_path / "own", app.folder)

    app.build(standalone=False)
    without = trace.trace(app.output(), tools=tools)
    if app.major == "16":  # Turbopack's tracer is another program than nft: see docs/tracing.md
        assert not {path for path in lasting(from_tree).keys() - lasting(without).keys() if "/next/dist/" not in path}
    else:
        assert lasting(without) == lasting(from_tree)
    answers(without, tmp_path / "without", app.folder)

    app.build(standalone=True, config={"outputFileTracingIncludes": INCLUDES, "outputFileTracingExcludes": EXCLUDES})
    assert ours == lasting(trace.trace(app.output(), tools=tools))
    assert "data/words.txt" in ours
