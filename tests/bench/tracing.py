"""Trace and package alone: the example app beside what Next.js itself takes for it, and 1,250 against 20,000 files."""

from __future__ import annotations

import json
import shutil
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.ids import BuildId
from deployd.domain.stages import BuildOutput, BuildPlan
from deployd.stages import package, trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployd.domain.stages import FileSet

MOST_ABOVE = 0.3  # seconds
FEW, MANY = 1_250, 20_000
_NEXTS_OWN = ("node-file-trace-build", "node-file-trace-plugin", "write-standalone-directory", "output-standalone")


@dataclass(frozen=True)
class Times:
    """Seconds of one trace and package."""

    trace: float
    package: float

    @property
    def both(self) -> float:
        """Both together."""
        return self.trace + self.package


def bench_trace(output: BuildOutput, *, artifacts: Path, tools: Path, say: Callable[[str], None]) -> None:
    """A finished build: its trace and package as after a one-line change, and as for the very first time."""
    again = [timed(output, artifacts=artifacts, tools=tools) for _ in range(5)]
    first = timed(output, artifacts=artifacts.with_name("artifacts-of-a-first-release"), tools=tools)
    files = len(trace.trace(output, tools=tools).files)
    middle = statistics.median(times.both for times in again)
    say(
        f"trace + package of {files:,} files: {middle:.3f} s (at most {MOST_ABOVE} above Next.js's own); trace "
        f"{statistics.median(times.trace for times in again):.3f} s, package "
        f"{statistics.median(times.package for times in again):.3f} s; the very first time {first.both:.2f} s, most of "
        "it compression"
    )
    own = nexts_own(Path(output.app_dir) / output.folder / "trace")
    if own:
        say(f"trace + package: Next.js itself takes {sum(own.values()):.3f} s for its own: " + ", ".join(own))


def nexts_own(told: Path) -> dict[str, float]:
    """What Next.js's own record says of its tracing: name -> seconds."""
    found: dict[str, float] = {}
    for line in told.read_text().splitlines() if told.is_file() else ():
        for span in json.loads(line):
            if span["name"] in _NEXTS_OWN:
                found[span["name"]] = found.get(span["name"], 0.0) + span["duration"] / 1e6
    return found


def bench_many(folder: Path, *, say: Callable[[str], None], rounds: int = 3) -> float:
    """The same kind of tree with 16 times the files; returns the time for each file of many against that of few."""
    middle: dict[int, Times] = {}
    for number in (FEW, MANY):
        output = made(folder / str(number), number)
        found = []
        for turn in range(rounds):
            found.append(timed(output, artifacts=folder / f"artifacts-{number}-{turn}", tools=folder / "tools"))
            shutil.rmtree(folder / f"artifacts-{number}-{turn}")
        middle[number] = sorted(found, key=lambda times: times.both)[rounds // 2]
    each = (middle[MANY].both / MANY) / (middle[FEW].both / FEW)
    say(
        f"trace + package of {FEW:,} files {middle[FEW].both:.2f} s, of {MANY:,} files {middle[MANY].both:.2f} s (trace "
        f"{middle[MANY].trace:.2f} s, package {middle[MANY].package:.2f} s): {each:.2f} times as long for each file (at most 1)"
    )
    return each


def timed(output: BuildOutput, *, artifacts: Path, tools: Path) -> Times:
    """Trace and package once."""
    began = time.monotonic()
    files: FileSet = trace.trace(output, tools=tools)
    traced = time.monotonic()
    package.package(files, built=output.built, artifacts=artifacts)
    return Times(traced - began, time.monotonic() - traced)


def made(root: Path, number: int) -> BuildOutput:
    """What `next build` leaves, with packages of 25 files each: a standalone tree, and the trace that names its files."""
    dist, inside = root / ".next", root / ".next" / "standalone"
    names = [f"node_modules/package-{n // 25}/lib/file-{n % 25}.js" for n in range(number)]
    for name in names:
        for top in (root, inside):
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(f"module.exports = {name!r};\n" * 20)
    _json(dist / "required-server-files.json", {"relativeAppDir": "", "files": [".next/BUILD_ID"], "config": {}})
    _json(dist / "routes-manifest.json", {"basePath": "", "headers": [], "redirects": [], "rewrites": []})
    _json(dist / "server" / "middleware-manifest.json", {"middleware": {}})
    _json(dist / "next-server.js.nft.json", {"version": 1, "files": [f"../{name}" for name in names]})
    for path in (inside / "server.js", dist / "BUILD_ID", inside / ".next" / "BUILD_ID", dist / "static" / "a.js"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    plan = BuildPlan(
        framework="nextjs", framework_version="16", manager="npm", manager_version=None, install=(), command=(),
        node="22.23.3", lockfile="", lockfile_sha256="", build_id=BuildId("b" + "0" * 20),
    )  # fmt: skip
    return BuildOutput(root=str(root), app_dir=str(root), plan=plan, built=1_700_000_000, log="", seconds=0.0)


def _json(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
