"""Native packages for hosts with another CPU than this machine's: installed from the lock file, traced, and judged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from deployd.domain.options import Build
from deployd.elf import Fleet
from deployd.stages import build, package, trace
from deployd.stages.build import platforms
from deployd.stages.verify.natives import check_natives
from tests.support.workbench import Workbench, put

if TYPE_CHECKING:
    from pathlib import Path

SHARP = "0.34.5"
OTHER = "x64" if platforms.own_cpu() == "arm64" else "arm64"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(tmp_path_factory.mktemp("state"))


def test_sharp_is_there_for_both(bench: Workbench, tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root, {
        "package.json": json.dumps({"name": "shop", "version": "1.0.0", "dependencies": {"sharp": SHARP},
                                    "scripts": {"start": "node server.js"}}),
        "server.js": 'require("sharp"); require("http").createServer((q, r) => r.end("ok")).listen(process.env.PORT);\n',
    })  # fmt: skip
    bench.lock(root)
    locked = (root / "package-lock.json").read_bytes()

    def made(cpu: str) -> dict[str, list[str]]:
        plan = build.plan(bench.tree(root), Build(), app="shop", environment="production", variables={}, cpu=cpu)
        caches = bench.state / "caches" / "shop"
        output = build.build(
            bench.tree(root), plan, options=Build(), caches=caches, log=bench.state / "log", variables={},
            node=bench.node(plan.node),
        )  # fmt: skip
        files = trace.trace(output, tools=bench.state / "tools")
        artifact = package.package(files, built=output.built, artifacts=bench.artifacts)
        build.keep_install(output, caches=caches)
        manifest = package.load(bench.artifacts, artifact.name)
        return {
            one: [finding.what for finding in check_natives(manifest, artifacts=bench.artifacts, fleet=Fleet(
                cpu=one, libc="glibc", libc_version="2.36")) if finding.error]
            for one in (platforms.own_cpu(), OTHER)
        }  # fmt: skip

    alone = made(platforms.own_cpu())
    assert alone[platforms.own_cpu()] == []
    assert any("sharp" in what for what in alone[OTHER])

    assert made(OTHER) == {platforms.own_cpu(): [], OTHER: []}
    assert made(OTHER) == {platforms.own_cpu(): [], OTHER: []}  # from the kept install
    assert (root / "package-lock.json").read_bytes() == locked
