"""A Next.js build without a standalone tree -> the files of one: from its traces, and what is copied besides."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.stages import TracedFile
from deployd.errors import CommandError, PackageError
from deployd.stages.trace import programs, serverjs, traces, tree
from deployd.stages.trace.traces import SERVER_TRACE

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence

    from deployd.stages.trace.found import Found
    from deployd.stages.trace.nextapp import NextApp
    from deployd.stages.trace.traces import Named, Trace

_COPIED = ("server/pages", "server/app")
_TOLD_ROUTES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the traces say: `files` by their place, and for each place the names of the traces that need it."""

    traces: tuple[Trace, ...]
    files: Mapping[str, Named]
    by: Mapping[str, tuple[str, ...]]


def needs(app: NextApp) -> Needs:
    """Read every trace of the build that its server needs; routes of the edge runtime have none."""
    edge_routes, _ = traces.edge(app.dist)
    found = [trace for trace in traces.read(app.dist, root=app.root) if not edge_routes.intersection({*trace.routes})]
    files: dict[str, Named] = {}
    by: dict[str, list[str]] = {}
    for trace in found:
        for named in trace.files:
            files.setdefault(named.path, named)
            by.setdefault(named.path, []).append(trace.name)
    return Needs(traces=tuple(found), files=files, by={path: tuple(names) for path, names in by.items()})


def required(app: NextApp) -> Iterator[str]:
    """The places that the server needs whatever the routes are: what the build lists, edge functions, middleware."""
    _, edge_files = traces.edge(app.dist)
    for path in traces.required(app.dist):
        yield app.at(os.path.normpath(path))
    for path in edge_files:
        yield app.in_dist(path)
    if (app.dist / "server" / "middleware.js.nft.json").is_file():
        yield app.in_dist("server/middleware.js")


def add(
    found: Found,
    app: NextApp,
    needed: Needs,
    *,
    skip: Mapping[str, object],
    tools: Path,
    with_server: bool = True,
    cancel: threading.Event | None = None,
) -> None:
    """Assemble into `found`; paths in `skip` are excluded. `with_server` also makes the server.js.

    Raises PackageError when the build left no trace of the server.
    """
    if not any(trace.name == SERVER_TRACE for trace in needed.traces):
        raise PackageError(
            f"the build left neither a standalone tree nor {SERVER_TRACE}",
            code="standalone-incomplete",
            fix="build again without the cache: deployd release --no-cache",
        )
    root = tree.Root(app.root)
    told = Reasons(needed)
    for path, named in needed.files.items():
        if path not in skip:
            files = _taken(root, named, reasons=told.of(path))
            if (
                not files and "node_modules/next/dist/" in path
            ):  # of other packages a trace names what other systems have
                raise _not_installed(path)
            found.add(files)
    if app.config.get("output") != "standalone":
        found.add(_server(app, root=root, found=found, cancel=cancel))
    for path in (app.at("package.json"), app.in_dist("required-server-files.json"), *required(app)):
        found.add(root.take(path, reasons=("required by every server",)))
    for copied in _COPIED:
        if (app.dist / copied).is_dir():
            found.add(tree.walk(app.dist / copied, at=app.in_dist(copied), reason=copied, root=app.root))
    if with_server:
        found.add([serverjs.make(app, tools=tools)])


def outside(needed: Needs) -> list[str]:
    """Warnings for files that traces name outside of the root of tracing, as far as they exist."""
    lost = sorted({path for trace in needed.traces for path in trace.outside if Path(path).is_file()})
    return [f"outside of the root of tracing, and left out: {path}" for path in lost]


class Reasons:
    """Why a file is there, for people: a few routes, or parts of the server. Many files share theirs."""

    def __init__(self, needed: Needs) -> None:
        self._by = needed.by
        self._shown = {trace.name: f"needed by {shown(trace)}" for trace in needed.traces}
        self._kept: dict[tuple[str, ...], tuple[str, ...]] = {}

    def of(self, path: str) -> tuple[str, ...]:
        """The reasons for a file that a trace names."""
        names = self._by[path]
        if names not in self._kept:
            told = tuple(self._shown[name] for name in names[:_TOLD_ROUTES])
            more = len(names) - _TOLD_ROUTES
            self._kept[names] = (*told, f"needed by {more} more routes") if more > 0 else told
        return self._kept[names]


def shown(trace: Trace) -> str:
    """What a trace belongs to, for people: a route, the server, or a part of it."""
    if trace.name == SERVER_TRACE:
        return "the server"
    return trace.routes[0] if trace.routes else Path(trace.name.removesuffix(".js.nft.json")).name


def _taken(root: tree.Root, named: Named, *, reasons: tuple[str, ...]) -> Sequence[TracedFile]:
    if named.target is not None:
        target = os.path.relpath(named.target, os.path.dirname(named.path) or ".")  # noqa: PTH120 - text
        tree.checked_target(target, path=named.path, top="")
        return [TracedFile(path=named.path, source=named.source, size=0, symlink=target, reasons=reasons)]
    if named.path.startswith("next_additional_roots/"):
        source = Path(named.source)
        outer = tree.Root(source.parent)
        files = outer.take(source.name, reasons=reasons)
        return [
            TracedFile(path=named.path, source=file.source, size=file.size, symlink=file.symlink, reasons=reasons)
            for file in files
        ]
    return root.take(named.path, reasons=reasons)


def _server(app: NextApp, *, root: tree.Root, found: Found, cancel: threading.Event | None) -> Iterator[TracedFile]:
    """What a standalone server needs besides: a build without `output: 'standalone'` did not trace it.

    The app's own Next.js is asked, as its build would have done.
    """
    with tempfile.TemporaryDirectory(prefix="deployd-trace-") as folder:
        job = {"dir": str(app.app_dir), "root": str(app.root), "config": dict(app.config), "into": folder}
        try:
            programs.run("server", job, root=app.root, writes=(Path(folder),), cancel=cancel)
        except CommandError as error:
            raise PackageError(
                "the build was made without output: 'standalone', and its Next.js cannot tell afterwards what such a "
                "server needs",
                code="standalone-incomplete",
                details=error.details,
                fix="build with NEXT_PRIVATE_STANDALONE=1 in the environment, or with output: 'standalone'",
            ) from error
        trace = traces.read_one(Path(folder) / SERVER_TRACE, name=SERVER_TRACE, root=app.root)
    for named in trace.files:
        if not found.has(named.path):
            yield from root.take(named.path, reasons=("needed by the server",))


def _not_installed(path: str) -> PackageError:
    return PackageError(
        f"the app's packages are not installed: there is no {path}",
        code="packages-missing",
        fix="install them where the build was made (npm ci), or build with output: 'standalone'",
    )
