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
    from deployd.stages.trace.globs import Answers
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
    """Match all rules. Rules of `exclude` are tried on `files`, and on what those of `include` find: a route that has
    both does without the file.

    `traces` are those of the routes; None for a server that has no routes for deployd: all includes count then, and
    those excludes whose route glob stands for every route.
    """
    picomatch = programs.picomatch(tools, app_dir=app_dir, root=root, cancel=cancel)
    asked = Questions()
    asked.sets["routes"] = sorted({route for trace in traces or () for route in trace.routes})
    asked.sets["server"] = [SERVER]
    routes = {rule.route: asked.match(rule.route, among="routes", contains=True) for rule in _all(rules)}
    server = {rule.route: asked.match(rule.route, among="server") for rule in rules.exclude}
    walks = {rule: asked.walk(rule.glob, folder=app_dir) for rule in rules.include}
    excludes = _Excludes(rules.exclude, app_dir=app_dir, root=root)
    first = excludes.ask(asked, files)
    told = asked.answer(picomatch=picomatch, root=root, cancel=cancel)

    warnings: list[str] = []
    added: dict[str, dict[Rule, set[str]]] = {}
    for rule, number in walks.items():
        names = {SERVER} if traces is None else _concerned(traces, told.match[routes[rule.route]])
        if not names:
            warnings.append(f"no route with a trace matches: {rule}")
            continue
        found = [posixpath.normpath(f"{os.path.relpath(app_dir, root)}/{path}") for path in told.walk[number]]
        if not found:
            warnings.append(f"no file matches: {rule}")
        for path in found:
            if path.startswith("../"):
                warnings.append(f"outside of the root of tracing, and left out: {path} ({rule})")
            else:
                added.setdefault(path, {})[rule] = names

    hits = [first.of(told, rule) for rule in rules.exclude]
    if rules.exclude and added.keys() - {*files}:
        again = Questions()
        second = excludes.ask(again, sorted(added.keys() - {*files}))
        more = again.answer(picomatch=picomatch, root=root, cancel=cancel)
        hits = [hit | second.of(more, rule) for hit, rule in zip(hits, rules.exclude, strict=True)]
    excluded: dict[str, set[str]] = {}
    for rule, hit in zip(rules.exclude, hits, strict=True):
        names = _names(traces, told.match[routes[rule.route]], told.match[server[rule.route]], rule=rule)
        if not names or not hit:
            warnings += [f"no route with a trace matches: {rule}"] if not names else []
            # a build that Next.js did with webpack has left its own out already
            warnings += [f"no file matches: {rule}"] if names and rule.origin == "trace.exclude" else []
            continue
        for path in hit:
            excluded.setdefault(path, set()).update(names)
    stays = {
        path: [rule for rule, names in by.items() if names - excluded.get(path, set())] for path, by in added.items()
    }
    return Applied(
        added={path: str(by[0]) for path, by in stays.items() if by},
        excluded={path: frozenset(names) for path, names in excluded.items()},
        warnings=tuple(warnings),
    )


class _Excludes:
    """The file globs of excludes, as Next.js asks them: joined to the app's folder, so `./` and `../` are resolved, and
    matched with whole paths.
    """

    def __init__(self, rules: Sequence[Rule], *, app_dir: Path, root: Path) -> None:
        top = _SPECIAL.sub(r"\\\g<0>", str(app_dir))
        self._globs = {rule: os.path.normpath(f"{top}/{rule.glob}") for rule in rules}
        self._root = root

    def ask(self, asked: Questions, files: Sequence[str]) -> _Hits:
        """Ask which of `files` each glob matches."""
        full = {f"{self._root}/{path}": path for path in files}
        asked.sets["files"] = list(full)
        numbers = {rule: asked.match(glob, among="files", contains=True) for rule, glob in self._globs.items()}
        return _Hits(full=full, numbers=numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hits:
    """Where the answers for each exclude are. `full` gives the path of each whole path."""

    full: Mapping[str, str]
    numbers: Mapping[Rule, int]

    def of(self, told: Answers, rule: Rule) -> set[str]:
        """The paths that a rule's glob matches."""
        return {self.full[path] for path in told.match[self.numbers[rule]]}


def _all(rules: Rules) -> tuple[Rule, ...]:
    return (*rules.include, *rules.exclude)


def _concerned(traces: Sequence[Trace], routes: set[str]) -> set[str]:
    """The names of the traces of routes: the documented form counts, and for old habits the one with /app before it."""
    return {trace.name for trace in traces if trace.routes and trace.routes != (SERVER,) and routes & {*trace.routes}}


def _names(traces: Sequence[Trace] | None, routes: set[str], server: set[str], *, rule: Rule) -> set[str]:
    if traces is None:
        return {SERVER} if rule.route in _EVERYTHING else set()
    return _concerned(traces, routes) | ({SERVER_TRACE} if server else set())
