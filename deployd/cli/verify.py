"""`deployd verify`: the artifact of the folder as it is, tried alone on this machine; no host is needed."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli import alone, running
from deployd.cli.render import clean
from deployd.cli.verbs import verb
from deployd.domain.quantity import format_duration

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from deployd.cli.context import Cli
    from deployd.domain.events import Report
    from deployd.domain.ids import ArtifactName
    from deployd.domain.secret import Secret
    from deployd.domain.stages import BuildOutput
    from deployd.stages.verify import Verified

_QUESTION = "Stop here? Nothing outside of deployd's own folders was touched."


@verb(example="deployd verify")
def verify(
    cli: Cli,
    *,
    path: Annotated[
        list[str] | None, typer.Option("--path", metavar="PATH", help="Ask for this path too. Repeatable.")
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Build again, without the caches of earlier builds.")
    ] = False,
) -> None:
    """Build, trace and package the folder as it is, and run the result alone: what is missing in it is named."""
    wish = alone.wish_of(cli, use_cache=not no_cache)
    variables = _variables(cli, wish)

    def work(report: Report, cancel: threading.Event) -> tuple[ArtifactName, Verified]:
        output = alone.built(wish, report=report, cancel=cancel)
        return _tried(wish, output, paths=path or [], variables=variables, report=report, cancel=cancel)

    artifact, found = running.run(cli, work, question=_QUESTION)
    from deployd.stages import verify as stage

    if cli.options.json:
        cli.out.event({"artifact": artifact, **found.to_json()})
    for finding in found.findings:
        if not finding.error and not cli.options.json:
            cli.out.warn(clean(f"{finding.what} ({finding.fix})"))
    error = stage.refusal(found.findings)
    if error is not None:
        raise error.but(live=None)
    if not cli.options.json:
        cli.out.done(f"{artifact} ran alone: {len(found.paths)} paths asked in {format_duration(found.seconds)}")
        cli.out.next("deployd release")


def _variables(cli: Cli, wish: alone.Wish) -> Mapping[str, Secret]:
    try:
        return alone.revealed(cli, wish.app)
    finally:
        cli.client.close()


def _tried(
    wish: alone.Wish,
    output: BuildOutput,
    *,
    paths: list[str],
    variables: Mapping[str, Secret],
    report: Report,
    cancel: threading.Event,
) -> tuple[ArtifactName, Verified]:
    from deployd.stages import package, trace
    from deployd.stages import verify as stage
    from deployd.stages.build import runtime

    with alone.stage("trace", report):
        files = trace.trace(
            output,
            options=wish.options.trace,
            source_maps=wish.options.package.source_maps,
            tools=wish.caches.parent / "tools",
            cancel=cancel,
        )
    with alone.stage("package", report):
        artifact = package.package(files, built=output.built, artifacts=wish.artifacts)
    node = runtime.fetch(output.plan.node, runtimes=wish.runtimes, cpu=_own_cpu(), cancel=cancel)
    manifest = package.load(wish.artifacts, artifact.name)
    with alone.stage("verify", report):
        found = stage.verify(
            manifest,
            artifacts=wish.artifacts,
            folder=wish.state.parent / ".trials",
            node=Path(node.path),
            options=wish.options.verify,
            paths=[wish.options.probe.path, *paths],
            variables=variables,
            checkout=stage.Checkout.of(manifest, app_dir=Path(output.app_dir), top=Path(output.root)),
            cancel=cancel,
        )
    return artifact.name, found


def _own_cpu() -> str:
    return "arm64" if platform.machine() in {"aarch64", "arm64"} else "x64"
