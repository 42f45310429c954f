"""Route globs with file globs -> files added and taken away, as Next.js's outputFileTracing options do it."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployd.stages.trace import programs
from deployd.stages.trace.globs import Questions
from deployd.stages.trace.traces import SERVER, SERVER_TRACE

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from deployd.domain import options
    from deployd.stages.trace.traces import Trace

_SPECIAL = re.compile(r"[][{}()!?*+@|\\\\]")
_EVERYTHING = {"*", "/*", "**", "/**", "**/*", "/**/*"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One route glob with one file glob. `origin` says who wrote it, for warnings."""

    route: str
    glob: str
    origin: str

    def __str__(self) -> str:
        return f'{self.origin}, "{self.route}": "{self.glob}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is added and what is taken away."""

    include: tuple[Rule, ...] = ()
    exclude: tuple[Rule, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """`added` are paths (relative to the root) with the reason for each; `excluded` gives the routes of a path that do
    without it; `warnings` name the globs that matched nothing.
    """

    added: Mapping[str, str]
    excluded: Mapping[str, frozenset[str]]
    warnings: tuple[str, ...]


def of_app(trace: options.Trace) -> Rules:
    """The rules of deployd.toml."""
    return Rules(
        include=tuple(_rules(trace.include, origin="trace.include")),
        exclude=tuple(_rules(trace.exclude, origin="trace.exclude")),
    )


def of_next(config: Mapping[str, Any]) -> Rules:
    """The rules of next.config, from the configuration that the build kept (13 and 14 have them in `experimental`)."""
    old: Mapping[str, Any] = config.get("experimental") or {}

    def pairs(name: str) -> list[tuple[str, Sequence[str]]]:
        found = config.get(name) or old.get(name) or {}
        return [(str(route), [str(glob) for glob in globs]) for route, globs in found.items()]

    names = ("outputFileTracingIncludes", "outputFileTracingExcludes")
    include, exclude = (tuple(_rules(pairs(name), origin=name)) for name in names)
    return Rules(include=include, exclude=exclude)


def _rules(pairs: Iterable[tuple[str, Sequence[str]]], *, origin: str) -> Iterable[Rule]:
    for route, globs in pairs:
        for glob in globs:
            if route and glob:
                yield Rule(route=route, glob=glob, origin=origin)


def apply(
    rules: Rules,
    *,
    traces: Sequence[Trace] | None,
    files: Sequence[str],
    app_dir: Path,
    root: Path,
    tools: Path,
    cancel: threading.Event | None = None,
) -> Applied:
    """Match all rules. `files` are the paths that rules of `exclude` are tried on.

    `traces` are those of the routes; None for a server that has no routes for deployd: all includes count then, and
    those excludes whose route glob stands for every route.
    """
    asked = Questions()
    asked.sets["routes"] = sorted({route for trace in traces or () for route in trace.routes})
    asked.sets["server"] = [SERVER]
    full = {f"{root}/{path}": path for path in files}
    asked.sets["files"] = list(full)
    routes = {rule.route: asked.match(rule.route, among="routes", contains=True) for rule in _all(rules)}
    server = {rule.route: asked.match(rule.route, among="server") for rule in rules.exclude}
    walks = {rule: asked.walk(rule.glob, folder=app_dir) for rule in rules.include}
    # Next.js joins an exclude to the project's folder, so `./` and `../` are resolved, and matches whole paths
    top = _SPECIAL.sub(r"\\\g<0>", str(app_dir))
    globs = {
        rule: asked.match(os.path.normpath(f"{top}/{rule.glob}"), among="files", contains=True)
        for rule in rules.exclude
    }
    picomatch = programs.picomatch(tools, app_dir=app_dir, root=root, cancel=cancel)
    told = asked.answer(picomatch=picomatch, root=root, cancel=cancel)

    warnings: list[str] = []
    added: dict[str, str] = {}
    for rule, number in walks.items():
        if traces is not None and not _concerned(traces, told.match[routes[rule.route]]):
            warnings.append(f"no route with a trace matches: {rule}")
            continue
        found = [posixpath.normpath(f"{os.path.relpath(app_dir, root)}/{path}") for path in told.walk[number]]
        if not found:
            warnings.append(f"no file matches: {rule}")
        for path in found:
            if path.startswith("../"):
                warnings.append(f"outside of the root of tracing, and left out: {path} ({rule})")
            else:
                added.setdefault(path, f"{rule}")

    excluded: dict[str, set[str]] = {}
    for rule, number in globs.items():
        names = _names(traces, told.match[routes[rule.route]], told.match[server[rule.route]], rule=rule)
        hit = {full[path] for path in told.match[number]}
        if not names or not hit:
            warnings += [f"no route with a trace matches: {rule}"] if not names else []
            # a build that Next.js did with webpack has left its own out already
            warnings += [f"no file matches: {rule}"] if names and rule.origin == "trace.exclude" else []
            continue
        for path in hit:
            excluded.setdefault(path, set()).update(names)
    return Applied(
        added=added,
        excluded={path: frozenset(names) for path, names in excluded.items()},
        warnings=tuple(warnings),
    )


def _all(rules: Rules) -> tuple[Rule, ...]:
    return (*rules.include, *rules.exclude)


def _concerned(traces: Sequence[Trace], routes: set[str]) -> set[str]:
    """The names of the traces of routes: the documented form counts, and for old habits the one with /app before it."""
    return {trace.name for trace in traces if trace.routes and trace.routes != (SERVER,) and routes & {*trace.routes}}


def _names(traces: Sequence[Trace] | None, routes: set[str], server: set[str], *, rule: Rule) -> set[str]:
    if traces is None:
        return {SERVER} if rule.route in _EVERYTHING else set()
    return _concerned(traces, routes) | ({SERVER_TRACE} if server else set())
