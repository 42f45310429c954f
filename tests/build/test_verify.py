"""A real Next.js 16 app, packaged and tried alone: what is missing is named, and the line that is named mends it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployd import appfile
from deployd.domain.options import Trace, Verify
from deployd.stages import package, trace
from deployd.stages import verify as stage
from deployd.stages.build import runtime
from tests.support.nextsmall import NextSmall

if TYPE_CHECKING:
    from deployd.domain.artifact import Manifest
    from deployd.stages.verify import Verified

REPORT = """
import fs from "node:fs/promises";
export const dynamic = "force-dynamic";
export async function GET(){ return new Response(await fs.readFile([process.cwd(), process.env.WORDS || "texts", "report.txt"].join("/"))) }
"""
PICTURE = """
import Image from "next/image";
export default function P(){return <Image src="/picture.png" width={64} height={64} alt=""/>}
"""


@dataclass(frozen=True)
class Bench:
    """The app, built, and where its artifacts are."""

    app: NextSmall
    state: Path
    node: Path

    def make(self, wish: Trace | None = None) -> Manifest:
        files = trace.trace(self.app.output(), options=wish or Trace(), tools=self.state / "tools")
        made = package.package(files, built=1, artifacts=self.state / "artifacts")
        return package.load(self.state / "artifacts", made.name)

    def run(self, manifest: Manifest) -> Verified:
        folder = self.app.folder
        return stage.verify(
            manifest, artifacts=self.state / "artifacts", folder=self.state / "trials", node=self.node, options=Verify(),
            checkout=stage.Checkout.of(manifest, app_dir=folder, top=folder),
        )  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("verify")
    app = NextSmall.make(folder / "shop", major="16")
    for path, text in {"app/api/report/route.js": REPORT, "app/picture/page.jsx": PICTURE}.items():
        (app.folder / path).parent.mkdir(parents=True)
        (app.folder / path).write_text(text)
    (app.folder / "texts").mkdir()
    (app.folder / "texts/report.txt").write_text("words")
    example = Path(__file__).parents[2] / "examples" / "nextjs" / "app" / "picture" / "leaf.png"
    (app.folder / "public" / "picture.png").write_bytes(example.read_bytes())
    app.build(standalone=True)
    node = runtime.fetch("22.23.3", runtimes=folder / "runtimes")
    return Bench(app, folder, Path(node.path))


def without(manifest: Manifest, *starts: str) -> Manifest:
    left = tuple(entry for entry in manifest.files if not entry.path.startswith(starts))
    assert len(left) < len(manifest.files)
    return replace(manifest, files=left)


def test_an_untraced_read_is_named_and_the_named_line_mends_it(bench: Bench) -> None:
    found = bench.run(bench.make())

    error = stage.refusal(found.findings)
    assert error is not None
    assert error.code == "artifact-incomplete"
    assert error.what == "texts/report.txt is read, and not in the artifact (/api/report)"
    line = error.fix.partition("below [trace]: ")[2].partition("; or")[0]
    assert line == 'include = { "/api/report" = ["texts/report.txt"] }'

    wish = appfile.parse(f'name = "shop"\n[trace]\n{line}\n').options.trace
    manifest = bench.make(wish)
    assert "texts/report.txt" in {entry.path for entry in manifest.files}
    assert bench.run(manifest).errors == ()


def test_a_good_artifact_is_asked_for_all_that_is_known(bench: Bench) -> None:
    found = bench.run(bench.make(Trace(include=(("/*", ("data/**", "texts/**")),))))

    assert found.findings == ()
    assert set(found.paths) >= {
        "/", "/fresh", "/legacy", "/ssr", "/picture", "/dyn/deployd-verify", "/api/hello", "/api/old", "/api/edge", "/api/report",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        (".next/server/app/fresh.html", '"/fresh" = [".next/server/app/fresh.html"]'),
        (".next/server/pages/ssr.js", '".next/server/pages/ssr.js"'),
        (".next/node_modules/", '"node_modules/pino/**"'),
        ("node_modules/sonic-boom/", '"node_modules/sonic-boom/**"'),
        ("node_modules/@swc/helpers/", '"node_modules/@swc/helpers/**"'),
        ("node_modules/@img/sharp-libvips", "libvips-cpp.so"),
        ("node_modules/sharp/", '"node_modules/sharp/**"'),
    ],
)
def test_what_is_taken_away_is_named(bench: Bench, gone: str, named: str) -> None:
    manifest = bench.make(Trace(include=(("/*", ("data/**", "texts/**")),)))
    error = stage.refusal(bench.run(without(manifest, gone)).findings)

    assert error is not None
    assert named in error.fix
