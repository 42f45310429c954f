"""A traced file -> the chain of files that leads to it, from an entry or a route: who names whom."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from deployd.stages.trace import analysis, assembled, nextapp, programs
from deployd.stages.trace.traces import SERVER_TRACE

if TYPE_CHECKING:
    import threading
    from collections.abc import Container, Mapping, Sequence
    from pathlib import Path

    from deployd.domain.options import Trace
    from deployd.domain.stages import BuildOutput, FileSet
    from deployd.stages.trace.nextapp import NextApp

_SERVER = ("dist/server/lib/start-server.js", "dist/server/next.js", "dist/server/next-server.js")
_CODE = (".js", ".mjs", ".cjs")


def chain(
    files: FileSet,
    path: str,
    *,
    output: BuildOutput | None = None,
    options: Trace | None = None,
    tools: Path,
    cancel: threading.Event | None = None,
) -> tuple[str, ...]:
    """The shortest way to a file, its start first and the file last; only the file itself when no code names it.

    Next.js's own traces do not say who named what: for those (with `output`) the code of the route that needs the file
    is analysed, and the chain begins with the route.
    """
    parents = {file.path: file.parents for file in files.files}
    if parents.get(path):
        return _shortest(path, parents)
    of_next = any(
        reason.startswith("needed by") for file in files.files if file.path == path for reason in file.reasons
    )
    if output is not None and of_next:
        app = nextapp.read(output, root=options.root if options else None)
        return _through_next(app, path, travels={file.path for file in files.files}, tools=tools, cancel=cancel)
    return (path,)


def _through_next(
    app: NextApp, path: str, *, travels: Container[str], tools: Path, cancel: threading.Event | None
) -> tuple[str, ...]:
    needed = assembled.needs(app)
    names = needed.by.get(path)
    if not names:
        return (path,)
    trace = next(trace for trace in needed.traces if trace.name == names[0])
    start = assembled.shown(trace)
    dist = app.in_dist("")
    entries = [app.in_dist(trace.name.removesuffix(".nft.json"))]
    entries += [named.path for named in trace.files if named.path.startswith(dist) and named.path.endswith(_CODE)]
    package = programs.of_app("next", app_dir=app.app_dir, root=app.root)
    if trace.name == SERVER_TRACE and package is not None:
        place = package.relative_to(app.root).as_posix()
        entries = [f"{place}/{file}" for file in _SERVER]
    there = tuple(dict.fromkeys(entry for entry in entries if (app.root / entry).is_file()))
    if path in there or not there:
        return (start, path)
    wish = analysis.Wish(entries=there, base=app.root, process_cwd=app.app_dir)
    found = analysis.run(wish, tools=tools, cancel=cancel)
    return (start, *_travelling(path, found.parents, travels=travels, stop=there))


def _travelling(
    path: str, parents: Mapping[str, Sequence[str]], *, travels: Container[str], stop: Sequence[str]
) -> tuple[str, ...]:
    """The shortest way through files that travel: Next.js's code names its development server, too."""
    inner = {one: [parent for parent in above if parent in travels] for one, above in parents.items()}
    way = _shortest(path, inner, stop=stop)
    return way if way[0] in stop else _shortest(path, parents, stop=stop)


def _shortest(path: str, parents: Mapping[str, Sequence[str]], *, stop: Sequence[str] = ()) -> tuple[str, ...]:
    """The shortest way upwards to a file that nothing names (or one of `stop`), turned round."""
    ends = {*stop}
    came: dict[str, str | None] = {path: None}
    waiting = deque([path])
    last = path
    while waiting:
        here = waiting.popleft()
        last = here
        above = [parent for parent in parents.get(here, ()) if parent not in came]
        if here in ends or not parents.get(here):
            break
        for parent in above:
            came[parent] = here
            waiting.append(parent)
    way = [last]
    while (step := came[way[-1]]) is not None:
        way.append(step)
    return tuple(way)
