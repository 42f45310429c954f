"""`deployd build`, `trace` and `package`: the stages alone, on this machine; no host is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployd.cli import alone, running
from deployd.cli.render import clean
from deployd.cli.verbs import verb
from deployd.domain.artifact import path_to_json
from deployd.domain.quantity import format_duration, format_size
from deployd.errors import NotFoundError

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from deployd.cli.context import Cli
    from deployd.domain.artifact import Artifact
    from deployd.domain.events import Report
    from deployd.domain.stages import BuildOutput, FileSet, TracedFile

_NO_CACHE = Annotated[bool, typer.Option("--no-cache", help="Build again, without the caches of earlier builds.")]
_QUESTION = "Stop here? Nothing outside of deployd's own folders was touched."


@verb(example="deployd build")
def build(cli: Cli, *, no_cache: _NO_CACHE = False) -> None:
    """Run the app's build here, on a copy of the folder as it is; the folder itself is not touched."""
    wish = alone.wish_of(cli, use_cache=not no_cache)
    output: BuildOutput = running.run(
        cli, lambda report, cancel: alone.built(wish, report=report, cancel=cancel), question=_QUESTION
    )
    plan = output.plan
    if cli.options.json:
        cli.out.event(
            {
                "app": wish.app,
                "build_id": plan.build_id,
                "framework": plan.framework,
                "framework_version": plan.framework_version,
                "manager": plan.manager,
                "node": plan.node,
                "path": output.app_dir,
                "log": output.log,
                "seconds": round(output.seconds, 3),
            }
        )
        return
    cli.out.done(f"built {wish.app} in {format_duration(output.seconds)}: {plan.build_id}, in {output.app_dir}")
    cli.out.next("deployd trace", "deployd package -o shop.tar.gz".replace("shop", wish.app), "deployd release")


@verb(example="deployd trace --why node_modules/next/package.json")
def trace(
    cli: Cli,
    *,
    why: Annotated[str | None, typer.Option("--why", metavar="PATH", help="Say why one file is there.")] = None,
    tree: Annotated[bool, typer.Option("--tree", help="Show folders with their sizes.")] = False,
    no_cache: _NO_CACHE = False,
) -> None:
    """List the files that the server needs at run time, building first where that was not done."""
    wish = alone.wish_of(cli, use_cache=not no_cache)

    def work(report: Report, cancel: threading.Event) -> FileSet:
        return _traced(alone.built(wish, report=report, cancel=cancel), wish=wish, report=report, cancel=cancel)

    files = running.run(cli, work, question=_QUESTION, aside=True)
    if why is not None:
        _draw_why(cli, files, why)
    elif cli.options.json:
        cli.out.document(_as_json(files))
    else:
        _draw_files(cli, files, tree=tree)


@verb(example="deployd package -o shop.tar.gz")
def package(
    cli: Cli,
    *,
    to: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the artifact there, for release --artifact."),
    ] = None,
    no_cache: _NO_CACHE = False,
) -> None:
    """Make an artifact of the folder as it is: its manifest, and each file by its hash."""
    wish = alone.wish_of(cli, use_cache=not no_cache)

    def work(report: Report, cancel: threading.Event) -> Artifact:
        from deployd.stages import package as stage

        output = alone.built(wish, report=report, cancel=cancel)
        files = _traced(output, wish=wish, report=report, cancel=cancel)
        with alone.stage("package", report):
            artifact = stage.package(files, built=output.built, artifacts=wish.artifacts)
            if to is not None:
                to.absolute().parent.mkdir(parents=True, exist_ok=True)
                stage.export(wish.artifacts, artifact.name, to=to.absolute())
        return artifact

    artifact = running.run(cli, work, question=_QUESTION)
    path = str(to.absolute()) if to is not None else artifact.manifest_path
    if cli.options.json:
        cli.out.event({"artifact": artifact.name, "files": artifact.files, "bytes": artifact.size, "path": path})
        return
    cli.out.done(f"{artifact.name}: {artifact.files:,} files, {format_size(artifact.size)}, in {path}")
    cli.out.next(f"deployd release --artifact {to}" if to is not None else "deployd release")


def _traced(output: BuildOutput, *, wish: alone.Wish, report: Report, cancel: threading.Event) -> FileSet:
    from deployd.stages import trace as stage

    with alone.stage("trace", report):
        return stage.trace(
            output,
            options=wish.options.trace,
            source_maps=wish.options.package.source_maps,
            tools=wish.caches.parent / "tools",
            cancel=cancel,
        )


def _as_json(files: FileSet) -> dict[str, Any]:
    return {"root": files.root, "files": [_file_json(file) for file in files.files], "warnings": list(files.warnings)}


def _file_json(file: TracedFile) -> dict[str, Any]:
    return {
        "path": path_to_json(file.path),
        "size": file.size,
        "symlink": None if file.symlink is None else path_to_json(file.symlink),
        "reasons": list(file.reasons),
    }


def _draw_files(cli: Cli, files: FileSet, *, tree: bool) -> None:
    if tree:
        for folder, (count, size) in sorted(_folders(files).items()):
            depth = folder.count("/")
            name = clean(folder.rpartition("/")[2]) + "/"
            cli.out.line(f"{format_size(size):>9}  {'  ' * depth}{name}  {cli.out.paint(f'{count:,}', 'dim')}")
    else:
        for file in files.files:
            arrow = f" -> {clean(file.symlink)}" if file.symlink is not None else ""
            cli.out.line(f"{format_size(file.size):>9}  {clean(file.path)}{arrow}")
    for warning in files.warnings:
        cli.out.warn(clean(warning))
    total = sum(file.size for file in files.files)
    cli.out.done(f"{len(files.files):,} files, {format_size(total)}")


def _folders(files: FileSet) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for file in files.files:
        parts = file.path.split("/")[:-1][:4]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            count, size = found.get(folder, (0, 0))
            found[folder] = (count + 1, size + file.size)
    return found


def _draw_why(cli: Cli, files: FileSet, path: str) -> None:
    file = next((one for one in files.files if one.path == path), None)
    if file is None:
        raise NotFoundError(f"{path} is not among the traced files", code="file-not-traced", fix="see `deployd trace`")
    if cli.options.json:
        cli.out.document(_file_json(file))
        return
    cli.out.line(clean(path))
    for reason in file.reasons:
        cli.out.line(f"  because of {clean(reason)}")
