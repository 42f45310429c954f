"""`deployd.toml`: a path comes in, an `AppFile` goes out, checked key by key against the table of appkeys.py.

Every mistake is found in one go; each is told with its line, what is expected, and the nearest known key. Keys that
begin with `x-` are the app's own. `[environments.NAME.probe]` and the like win over the table of the same name.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deployd import appkeys
from deployd.appkinds import PartError
from deployd.domain import sites
from deployd.domain.ids import AppName, EnvironmentName
from deployd.domain.options import Assets, Keep, Options
from deployd.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from deployd.appkeys import Key, Section
    from deployd.domain.ids import HostName

_HEADER = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]")
_SHORT = {"skew_protection": "keep", "error_pages": "trace", "bake": "rollout"}
_TOP = ("name", "environments", *(section.name for section in appkeys.SECTIONS))


@dataclass(frozen=True, slots=True, kw_only=True)
class AppEnvironment:
    """One environment of an app: its hosts, and all options with defaults filled in."""

    name: EnvironmentName
    branch: str | None
    hosts: tuple[HostName, ...]
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value in force: its key, as TOML, and where it comes from."""

    key: str
    value: str | None
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppFile:
    """An app as its file describes it. `options` are those outside of any environment."""

    path: str
    name: AppName
    options: Options
    environments: Mapping[str, AppEnvironment]
    tables: Mapping[str, Any]

    def environment(self, name: str) -> AppEnvironment:
        """The environment of that name; raises NotFoundError with the nearest one."""
        if name in self.environments:
            return self.environments[name]
        known = ", ".join(self.environments) or "none"
        near = difflib.get_close_matches(name, self.environments, n=1)
        raise NotFoundError(
            f"{self.name} has no environment {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
            code="environment-not-found",
            fix=f"add [environments.{name}] to {self.path}, or choose with --environment (there: {known})",
        )

    def values(self, name: str) -> list[Value]:
        """Every value in force in an environment, and where each comes from."""
        chosen = self.environment(name)
        table = self.tables.get("environments", {}).get(name, {})
        here = f"[environments.{name}]"
        found = [
            Value(key="name", value=appkeys.NAME.kind.write(str(self.name)), origin="deployd.toml"),
            Value(
                key="branch",
                value=appkeys.BRANCH.kind.write(chosen.branch) if chosen.branch else None,
                origin=here if "branch" in table else "default",
            ),
            Value(
                key="hosts",
                value=appkeys.FLEET.kind.write(tuple(map(str, chosen.hosts))),
                origin=here if "hosts" in table else "default",
            ),
        ]
        for section in (appkeys.SITE, appkeys.CONSENT, *appkeys.SECTIONS):
            part = getattr(chosen.options, section.part)
            for key in section.keys:
                value = key.value(part)
                if section in (appkeys.SITE, appkeys.CONSENT):
                    full, origin = key.name, here if key.name in table else "default"
                else:
                    full, origin = f"{section.name}.{key.name}", self._origin(section.name, key.name, table, name)
                found.append(Value(key=full, value=None if value is None else key.kind.write(value), origin=origin))
        return found

    def _origin(self, section: str, key: str, table: Mapping[str, Any], name: str) -> str:
        if key in table.get(section, {}):
            return f"[environments.{name}.{section}]"
        return f"[{section}]" if key in self.tables.get(section, {}) else "default"


@dataclass(frozen=True, slots=True)
class _Problem:
    path: tuple[str, ...]
    what: str
    fix: str


def load(path: Path) -> AppFile:
    """Read and check the app's file; raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"{path} cannot be read: {reason}",
            code="app-file-missing" if isinstance(error, FileNotFoundError) else "app-file-unreadable",
            fix="run `deployd init` in the app's folder, or name the folder with --app-dir"
            if isinstance(error, OSError)
            else "save it as UTF-8",
        ) from error
    return _with_absolute_files(parse(text, path=str(path)), path.parent.absolute())


def _with_absolute_files(app: AppFile, folder: Path) -> AppFile:
    """The same with the files that belong to certificates named from the root: a daemon works elsewhere."""
    environments = {}
    for name, one in app.environments.items():
        run = one.options.run
        if isinstance(run.tls, tuple):
            run = replace(run, tls=(str(folder / run.tls[0]), str(folder / run.tls[1])))
        if run.acme_ca_root:
            run = replace(run, acme_ca_root=str(folder / run.acme_ca_root))
        environments[name] = replace(one, options=replace(one.options, run=run))
    return replace(app, environments=environments)


def parse(text: str, *, path: str = "deployd.toml") -> AppFile:
    """Check the text of an app's file; `path` is for the errors."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        twice = str(error).startswith(("Cannot overwrite", "Cannot declare"))
        fix = "what it says stands in the file already: write into the table that is there, once" if twice else ""
        raise ConfigError(
            f"{path} is not TOML: {error}",
            code="app-file-syntax",
            fix=fix or "correct that line; `deployd docs` shows the whole file",
        ) from error
    tables = _in_full(tables)
    problems: list[_Problem] = []
    name = _app_name(tables, problems)
    _unknown(tables, _TOP, (), problems)
    shared = _options(tables, Options(), (), problems)
    environments = {}
    for key, table in _table(tables, "environments", (), problems).items():
        environment = _environment(key, table, shared, problems)
        if environment:
            environments[key] = environment
    if problems or name is None:
        raise _error(problems, text, path)
    return AppFile(path=path, name=name, options=shared, environments=environments, tables=tables)


def _in_full(tables: dict[str, Any]) -> dict[str, Any]:
    """The same with what may be written shortly written out: `verify = "warn"` is `[verify] mode = "warn"`."""
    full = dict(tables)
    if isinstance(full.get("verify"), str):
        full["verify"] = {"mode": full["verify"]}
    for name, section in _SHORT.items():
        if name in full and isinstance(full.get(section, {}), dict):
            full[section] = {**full.get(section, {}), name: full.pop(name)}
    environments = full.get("environments")
    if isinstance(environments, dict):
        full["environments"] = {
            name: _in_full(table) if isinstance(table, dict) else table for name, table in environments.items()
        }
    return full


def _app_name(tables: Mapping[str, Any], problems: list[_Problem]) -> AppName | None:
    value = tables.get("name")
    if value is None:
        problems.append(_Problem((), "`name` is missing", 'write `name = "shop"` in the first line'))
        return None
    try:
        return AppName.parse(appkeys.NAME.kind.parse(value))
    except ValueError as error:
        problems.append(_Problem(("name",), f"`name` is {_show(value)}", str(error).partition(": ")[2] or AppName.rule))
        return None


def _environment(name: str, table: Any, shared: Options, problems: list[_Problem]) -> AppEnvironment | None:
    path = ("environments", name)
    try:
        parsed = EnvironmentName.parse(name)
    except ValueError as error:
        problems.append(_Problem(path, f"an environment is named {name!r}", str(error).partition(": ")[2]))
        return None
    if not isinstance(table, dict):
        problems.append(_Problem(path, f"`environments.{name}` should be a table", f"write [environments.{name}]"))
        return None
    own = (appkeys.BRANCH, appkeys.FLEET, *appkeys.SITE.keys, *appkeys.CONSENT.keys)
    _unknown(table, (*(key.name for key in own), *(section.name for section in appkeys.SECTIONS)), path, problems)
    options = _options(table, shared, path, problems)
    site = _values(table, appkeys.SITE.keys, path, problems)
    consent = _values(table, appkeys.CONSENT.keys, path, problems)
    chosen = _values(table, (appkeys.BRANCH, appkeys.FLEET), path, problems)
    hosts = chosen.get("hosts", ())
    run = replace(options.run, **site, shared=len(hosts) > 1)
    problem = sites.problem_of(run)
    if problem:
        key, what, fix = problem
        problems.append(_Problem((*path, key), what, fix))
    if options.assets.bucket is None and options.assets != Assets():
        what = f"{name} has `assets` without a `bucket`"
        problems.append(_Problem((*path, "assets"), what, 'write assets = { bucket = "shop-assets", ... }'))
    return AppEnvironment(
        name=parsed,
        branch=chosen.get("branch"),
        hosts=hosts,
        options=replace(options, run=run, approval=replace(options.approval, **consent)),
    )


def _options(table: Mapping[str, Any], base: Options, path: tuple[str, ...], problems: list[_Problem]) -> Options:
    changed = {}
    for section in appkeys.SECTIONS:
        values = _section(table, section, path, problems)
        if section is appkeys.KEEP and "releases" in values and base.keep == Keep():
            values = {"skew_protection": 0.0, **values}  # who says how many means as many, unless they say for how long
        if values:
            changed[section.part] = replace(getattr(base, section.part), **values)
    return replace(base, **changed)


def _section(
    table: Mapping[str, Any], section: Section, path: tuple[str, ...], problems: list[_Problem]
) -> dict[str, Any]:
    values = _table(table, section.name, path, problems)
    here = (*path, section.name)
    _unknown(values, [key.name for key in section.keys], here, problems)
    return _values(values, section.keys, here, problems)


def _values(
    table: Mapping[str, Any], keys: Sequence[Key], path: tuple[str, ...], problems: list[_Problem]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in keys:
        if key.name not in table:
            continue
        try:
            found |= key.fields(key.kind.parse(table[key.name]))
        except ValueError as error:
            has = str(error) if isinstance(error, PartError) else f"is {_show(table[key.name])}"
            problems.append(
                _Problem(
                    (*path, key.name),
                    f"`{'.'.join((*path, key.name))}` {has}, and should be {key.kind.expected}",
                    f"for example: {key.name} = {key.example}",
                )
            )
    return found


def _table(parent: Mapping[str, Any], name: str, path: tuple[str, ...], problems: list[_Problem]) -> Mapping[str, Any]:
    table = parent.get(name, {})
    if isinstance(table, dict):
        return table
    full = ".".join((*path, name))
    problems.append(_Problem((*path, name), f"`{full}` is {_show(table)}, and should be a table", f"write [{full}]"))
    return {}


def _unknown(table: Mapping[str, Any], known: Sequence[str], path: tuple[str, ...], problems: list[_Problem]) -> None:
    for key in table:
        if key in known or key.startswith("x-"):
            continue
        where = f"[{'.'.join(path)}]" if path else "the top level"
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        is_typo = bool(difflib.get_close_matches(key, known, n=1, cutoff=0.75))
        elsewhere = [f"[{section.name}]" for section in appkeys.SECTIONS if key in {k.name for k in section.keys}]
        if elsewhere and not is_typo:
            fix = f"`{key}` belongs into {' or '.join(elsewhere)}"
        elif near:
            fix = f"did you mean `{near[0]}`?"
        else:
            fix = f"known there: {', '.join(known)}; a key of your own begins with x-"
        problems.append(_Problem((*path, key), f"unknown key `{key}` in {where}", fix))


def _error(problems: Sequence[_Problem], text: str, path: str) -> ConfigError:
    told = []
    for problem in problems:
        line = line_of(text, problem.path)
        told.append((f"{path}:{line}: {problem.what}" if line else f"{path}: {problem.what}", problem.fix))
    details = "\n".join(f"{what}; {fix}" for what, fix in told[1:])
    unknown = problems[0].what.startswith("unknown key")
    return ConfigError(
        told[0][0],
        code="config-unknown-key" if unknown else "config-invalid",
        details=details or None,
        fix=told[0][1],
    )


def line_of(text: str, path: tuple[str, ...]) -> int | None:
    """The line of a key or table in TOML text; tomllib gives none, so the text is searched. None when not found."""
    current: tuple[str, ...] = ()
    nearest = None
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.match(line)
        if header:
            current = _parts(header[1])
            if current == path:
                return number
            if current == path[: len(current)]:
                nearest = number
        elif "=" in line and not line.lstrip().startswith("#"):
            full = (*current, *_parts(line.partition("=")[0]))
            if full == path:
                return number
            if path and full == path[: len(full)]:
                nearest = number  # an inline table holds it
    return nearest if path else None


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in text.split("."))


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - a line's worth
