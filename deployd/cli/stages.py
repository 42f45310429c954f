"""`deployd build`, `trace` and `package`: the stages alone, on this machine; no host is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from deployd.cli import alone, running, traced
from deployd.cli.verbs import verb
from deployd.domain.events import Event
from deployd.domain.quantity import format_duration, format_size
from deployd.errors import UsageError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from deployd.cli.context import Cli
    from deployd.domain.artifact import Artifact
    from deployd.domain.events import Report
    from deployd.domain.stages import BuildOutput, FileSet

    _Answer: TypeAlias = tuple[FileSet, tuple[str, ...]]

_NO_CACHE = Annotated[bool, typer.Option("--no-cache", help="Build again, without the caches of earlier builds.")]
_TO = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write what --json prints there, too.")
]
_QUESTION = "Stop here? Nothing outside of deployd's own folders was touched."


@verb(example="deployd build")
def build(cli: Cli, *, to: _TO = None, no_cache: _NO_CACHE = False) -> None:
    """Run the app's build here, on a copy of the folder as it is; the folder itself is not touched."""
    wish = alone.wish_of(cli, use_cache=not no_cache)
    output: BuildOutput = running.run(
        cli, lambda report, cancel: alone.built(wish, report=report, cancel=cancel), question=_QUESTION
    )
    plan = output.plan
    made = {
        "app": wish.app,
        "build_id": plan.build_id,
        "framework": plan.framework,
        "framework_version": plan.framework_version,
        "manager": plan.manager,
        "node": plan.node,
        "kind": output.kind,
        "entry": output.entries[0] if output.entries else None,
        "folder": output.folder,
        "path": output.app_dir,
        "log": output.log,
        "seconds": round(output.seconds, 3),
    }
    _write(made, to)
    if cli.options.json:
        cli.out.event(made)
        return
    became = {
        "next": "Next.js's own server",
        "static": f"pages, in {output.folder}",
        "node": f"a server, started by {output.entries[0]}" if output.entries else "",
    }[output.kind]
    cli.out.done(f"built {wish.app} in {format_duration(output.seconds)}: {plan.build_id}, in {output.app_dir}")
    cli.out.pairs([("became", became)])
    cli.out.next("deployd trace", "deployd package -o shop.tar.gz".replace("shop", wish.app), "deployd release")


@verb(example="deployd trace --entry dist/main.js --why node_modules/express/index.js")
def trace(
    cli: Cli,
    *,
    why: Annotated[
        str | None, typer.Option("--why", metavar="PATH", help="Show the chain of files that leads to one file.")
    ] = None,
    tree: Annotated[bool, typer.Option("--tree", help="Show folders with their sizes.")] = False,
    entry: Annotated[
        list[Path] | None,
        typer.Option(
            "--entry",
            metavar="FILE",
            help="Trace what this file of Node.js needs, as it stands: no build, no deployd.toml. Repeatable.",
        ),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option("--base", metavar="DIR", help="With --entry: the root of tracing. [default: the app's folder]"),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="GLOB", help="With --entry: files not to follow. Repeatable."),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option("--condition", metavar="NAME", help="With --entry: a condition of package exports. Repeatable."),
    ] = None,
    to: _TO = None,
    no_cache: _NO_CACHE = False,
) -> None:
    """List the files that the server needs at run time, building first where that was not done."""
    if entry:
        wanted = _Entries(cli, entry, base=base, ignore=ignore or [], conditions=condition or [])
        files, chain = running.run(cli, wanted.work(why), question=_QUESTION, aside=True)
    elif base or ignore or condition:
        raise UsageError(
            "--base, --ignore and --condition go with --entry", code="usage", fix="name the file with --entry FILE"
        )
    else:
        files, chain = running.run(cli, _of_build(cli, why, use_cache=not no_cache), question=_QUESTION, aside=True)
    _write(traced.document(files), to)
    if why is not None:
        traced.draw_why(cli, files, why, chain)
    elif cli.options.json:
        cli.out.document(traced.document(files))
    else:
        traced.draw(cli, files, tree=tree)


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
        from deployd.domain.artifact import Making
        from deployd.stages import package as stage

        output = alone.built(wish, report=report, cancel=cancel)
        files = _traced(output, wish=wish, report=report, cancel=cancel)
        for warning in files.warnings:
            report(Event.WARNING, what=warning, code="trace-warning")
        with alone.stage("package", report):
            artifact = stage.package(files, built=output.built, artifacts=wish.artifacts)
            if to is not None:
                to.absolute().parent.mkdir(parents=True, exist_ok=True)
                plan = output.plan
                making = Making(
                    build_id=plan.build_id,
                    framework=plan.framework,
                    node=plan.node,
                    lockfile_sha256=plan.lockfile_sha256,
                )
                stage.export(wish.artifacts, artifact.name, to=to.absolute(), making=making)
        return artifact

    artifact = running.run(cli, work, question=_QUESTION)
    path = str(to.absolute()) if to is not None else artifact.manifest_path
    if cli.options.json:
        cli.out.event({"artifact": artifact.name, "files": artifact.files, "bytes": artifact.size, "path": path})
        return
    cli.out.done(f"{artifact.name}: {artifact.files:,} files, {format_size(artifact.size)}, in {path}")
    cli.out.next(f"deployd release --artifact {to}" if to is not None else "deployd release")


def _write(document: Any, to: Path | None) -> None:
    if to is not None:
        to.absolute().parent.mkdir(parents=True, exist_ok=True)
        to.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


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


def _of_build(cli: Cli, why: str | None, *, use_cache: bool) -> Callable[[Report, threading.Event], _Answer]:
    """Work that traces the app's build, and finds the way to `why`."""
    wish = alone.wish_of(cli, use_cache=use_cache)

    def work(report: Report, cancel: threading.Event) -> _Answer:
        from deployd.stages import trace as stage

        output = alone.built(wish, report=report, cancel=cancel)
        files = _traced(output, wish=wish, report=report, cancel=cancel)
        if why is None:
            return files, ()
        return files, stage.chain(
            files,
            traced.one(files, why).path,
            output=output,
            options=wish.options.trace,
            tools=wish.caches.parent / "tools",
            cancel=cancel,
        )

    return work


class _Entries:
    """What `trace --entry` asks for, with paths made absolute."""

    def __init__(
        self, cli: Cli, entries: Sequence[Path], *, base: Path | None, ignore: Sequence[str], conditions: Sequence[str]
    ) -> None:
        here = (cli.options.app_dir or Path()).absolute()
        self._entries = [here / path for path in entries]
        self._base = (here / base) if base else here
        self._ignore, self._conditions = tuple(ignore), tuple(conditions)
        self._here = here
        self._tools = cli.paths.make().caches / "tools"

    def work(self, why: str | None) -> Callable[[Report, threading.Event], _Answer]:
        """Work that traces the entries, and finds the way to `why`."""

        def work(report: Report, cancel: threading.Event) -> _Answer:
            from deployd.stages import trace as stage

            with alone.stage("trace", report):
                files = stage.trace_entries(
                    self._entries,
                    base=self._base,
                    process_cwd=self._here,
                    ignore=self._ignore,
                    conditions=self._conditions,
                    tools=self._tools,
                    cancel=cancel,
                )
            chain = () if why is None else stage.chain(files, traced.one(files, why).path, tools=self._tools)
            return files, chain

        return work
