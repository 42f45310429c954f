"""commit -> artifact against bare `next build`: the example app, a one-line change each round, both sides in turn."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.artifact import FileEntry
from deployd.domain.events import Event
from deployd.domain.ids import ArtifactName, RuntimeName
from deployd.domain.options import Build
from deployd.domain.secret import Secret
from deployd.domain.stages import SourceRequest
from deployd.hosts.helper import pack
from deployd.stages import build, package, source, trace
from deployd.stages.build import runtime
from tests.bench.tracing import bench_many, bench_trace
from tests.support.weights import told

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployd.domain.artifact import Manifest
    from deployd.domain.stages import BuildOutput
    from tests.support.world import World

EXAMPLE = Path(__file__).parents[2] / "examples" / "nextjs"
KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
VARIABLES = {"NEXT_SERVER_ACTIONS_ENCRYPTION_KEY": KEY}
RUNTIME = RuntimeName("node-22.23.3-linux-x64-glibc")
_LEFT_OUT = shutil.ignore_patterns("node_modules", ".next", "next-env.d.ts")


def bench_build(folder: Path, *, say: Callable[[str], None], rounds: int = 5) -> dict[str, float]:
    """Print the medians and their ratios; returns the ratios."""
    repository, bare = folder / "repository", folder / "bare"
    shutil.copytree(EXAMPLE, repository, ignore=_LEFT_OUT)
    _git("init", "--quiet", "--initial-branch=main", cwd=repository)
    _commit(repository, 0)
    deployd = _Deployd(folder / "state", repository)
    cold = deployd.run()
    node = Path(deployd.node)
    shutil.copytree(repository, bare, ignore=shutil.ignore_patterns(".git"))
    environment = os.environ | VARIABLES | {
        "PATH": f"{node.parent}:{os.environ['PATH']}", "NEXT_PRIVATE_STANDALONE": "1", "NEXT_TELEMETRY_DISABLED": "1",
        "NEXT_DEPLOYMENT_ID": "b0", "CI": "1",
    }  # fmt: skip

    def bare_build() -> float:
        began = time.monotonic()
        subprocess.run(["npm", "run", "build"], cwd=bare, env=environment, check=True, capture_output=True)
        return time.monotonic() - began

    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=bare, env=environment, check=True, capture_output=True)
    bare_build()
    deployd.run()
    times: dict[str, list[float]] = defaultdict(list)
    deployd.stages.clear()
    for number in range(1, rounds + 1):
        _commit(repository, number)
        shutil.copytree(repository / "app", bare / "app", dirs_exist_ok=True)
        times["bare"].append(bare_build())
        times["deployd"].append(deployd.run())
    middle = {name: statistics.median(found) for name, found in times.items()}
    ratios = {"warm/bare": middle["deployd"] / middle["bare"], "cold/warm": cold / middle["deployd"]}
    say(
        f"build: bare `next build` {middle['bare']:.2f} s, commit -> artifact {middle['deployd']:.2f} s, cold {cold:.1f} s"
    )
    for name, found in deployd.stages.items():
        say(f"build:   {name} {statistics.median(found):.3f} s")
    say(
        f"build: warm against bare {ratios['warm/bare']:.2f} (at most 1.15), cold against warm {ratios['cold/warm']:.1f} (at least 2)"
    )
    deployd.run(before_keeping=lambda output: _alone(output, state=folder / "state", say=say), report_sizes=say)
    ratios["many/few"] = bench_many(folder / "many", say=say)
    return ratios


def _alone(output: BuildOutput, *, state: Path, say: Callable[[str], None]) -> None:
    bench_trace(output, artifacts=state / "artifacts", tools=state / "caches" / "tools", say=say)


def bench_delta(world: World, *, say: Callable[[str], None], rounds: int = 3) -> float:
    """Bytes on the wire to one host after a one-line change, against the bytes of the files that changed."""
    found = []
    before = _newest(world)
    for number in range(1, rounds + 1):
        _commit(world.app, 1000 + number)
        events = world.run("release", "--yes", "--json", timeout=900).events
        after, known = _newest(world), {entry.path: entry for entry in before.files}
        changed = sum(
            entry.size for entry in after.files if isinstance(entry, FileEntry) and known.get(entry.path) != entry
        )
        objects = statistics.median(event["bytes_sent"] for event in events if event["event"] == Event.RELEASE_SEALED)
        sent = objects + len(pack(after, RUNTIME))
        found.append((sent / changed, sent, changed, len(after.files)))
        before = after
    ratio, sent, changed, files = sorted(found)[len(found) // 2]
    say(
        f"second release after a one-line change ({files:,} files): {sent:,.0f} bytes to a host, its manifest among them, "
        f"for {changed:,} bytes of changed files: {ratio:.2f} (at most 1.5)"
    )
    return ratio


def _newest(world: World) -> Manifest:
    found = (world.state / "artifacts" / "manifests").glob("*.json")
    return package.load(
        world.state / "artifacts", ArtifactName.parse(max(found, key=lambda path: path.stat().st_mtime).stem)
    )


class _Deployd:
    """The stages as a rollout runs them, one after the other."""

    def __init__(self, state: Path, repository: Path) -> None:
        self.state, self.repository = state, repository
        self.node = runtime.fetch(runtime.resolve(None), runtimes=state / "runtimes").path
        self.stages: dict[str, list[float]] = defaultdict(list)

    def run(
        self,
        *,
        before_keeping: Callable[[BuildOutput], None] = lambda _output: None,
        report_sizes: Callable[[str], None] | None = None,
    ) -> float:
        """From the commit to its artifact and kept caches; returns the seconds."""
        began = last = time.monotonic()

        def done(name: str) -> None:
            nonlocal last
            now = time.monotonic()
            self.stages[name].append(now - last)
            last = now

        into, caches = self.state / "checkouts" / "shop-production", self.state / "caches" / "shop"
        shutil.rmtree(into, ignore_errors=True)
        done("remove the old checkout")
        request = SourceRequest(repository=str(self.repository))
        tree = source.checkout(request, mirrors=self.state / "mirrors", into=into)
        done("source")
        plan = build.plan(tree, Build(), app="shop", environment="production", variables=VARIABLES)
        done("plan")
        output = build.build(
            tree, plan, options=Build(), caches=caches, log=self.state / "build.log", node=Path(self.node),
            variables={name: Secret(value) for name, value in VARIABLES.items()}, hidden=(self.state,),
        )  # fmt: skip
        done("build")
        files = trace.trace(output, tools=self.state / "caches" / "tools")
        done("trace")
        artifact = package.package(files, built=output.built, artifacts=self.state / "artifacts")
        done("package")
        before_keeping(output)
        if report_sizes:
            report_sizes(f"build: {told(artifact, output)}")
        build.keep_install(output, caches=caches)
        build.keep_within(self.state / "caches", 20 * 1024**3)
        done("keep the caches")
        return time.monotonic() - began


def _commit(repository: Path, number: int) -> None:
    page = repository / "app" / "page.tsx"
    text = re.sub(r"\n// round \d+\n$", "\n", page.read_text())
    page.write_text(f"{text}// round {number}\n" if text.endswith("\n") else f"{text}\n// round {number}\n")
    _git("add", "--all", cwd=repository)
    _git("commit", "--quiet", "-m", json.dumps(number), cwd=repository)


def _git(*words: str, cwd: Path) -> None:
    who = {f"GIT_{who}_{what}": "b@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *words], cwd=cwd, env=os.environ | who, check=True, capture_output=True)
