"""`deployd config`, `docs` and `version`: what is in force and why, what could be, and what runs."""

from __future__ import annotations

import difflib
import os
import tomllib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployd.cli.verbs import verb
from deployd.errors import NotFoundError

if TYPE_CHECKING:
    from deployd.cli.context import Cli

_HIDDEN = "(hidden)"


@verb(example="deployd config -e production")
def config(cli: Cli) -> None:
    """Print every value in force, and where it comes from: a default, deployd.toml, an option, a variable."""
    chosen = cli.app.values(cli.environment)
    machine = _machine(cli)
    if cli.options.json:
        cli.out.document(
            {
                "app": cli.app.name,
                "environment": cli.environment,
                "file": cli.app.path,
                "values": [{"key": item.key, "value": _plain(item.value), "origin": item.origin} for item in chosen],
                "settings": [{"key": key, "value": value, "origin": origin} for key, value, origin in machine],
            }
        )
        return
    out = cli.out
    out.line(out.paint(f"{cli.app.path}, {cli.environment}", "bold"))
    out.table(
        ("KEY", "VALUE", "FROM"),
        [(f"  {item.key}", item.value or "-", out.paint(item.origin, _style(item.origin))) for item in chosen],
    )
    out.line()
    out.line(out.paint("this machine", "bold"))
    out.table(
        ("SETTING", "VALUE", "FROM"),
        [(f"  {key}", str(value or "-"), out.paint(origin, _style(origin))) for key, value, origin in machine],
    )


@verb(example="deployd docs probe")
def docs(
    cli: Cli,
    section: Annotated[
        str | None,
        typer.Argument(metavar="[SECTION]", help="app, build, probe, rollout, run, keep, environments or daemon."),
    ] = None,
) -> None:
    """Print a section of the annotated configuration; works without a network."""
    from deployd.cli import annotated

    text = annotated.docs_text(section)
    if text is None:
        near = difflib.get_close_matches(str(section), annotated.DOCS_SECTIONS, n=1)
        raise NotFoundError(
            f"there is no section {section!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
            code="section-not-found",
            fix=f"choose {', '.join(annotated.DOCS_SECTIONS)}",
        )
    if cli.options.json:
        cli.out.document({"section": section or "app", "text": text})
    else:
        cli.out.stdout.write(text)


@verb(example="deployd version")
def version(cli: Cli) -> None:
    """Print the version."""
    import platform

    from deployd import __version__

    if cli.options.json:
        cli.out.document({"deployd": __version__, "python": platform.python_version()})
    else:
        cli.out.line(f"deployd {__version__} (Python {platform.python_version()})")


def _plain(value: str | None) -> Any:
    """A value as TOML writes it -> the value."""
    return None if value is None else tomllib.loads(f"value = {value}")["value"]


def _machine(cli: Cli) -> list[tuple[str, Any, str]]:
    from deployd import settings
    from deployd.settingsmodel import Settings

    file = settings.config_file()
    found = []
    for name in Settings.model_fields:
        variable = f"{settings.PREFIX}{name.upper()}"
        value = cli.settings.get(name)
        origin = variable if os.environ.get(variable) else str(file) if value is not None and file else "default"
        if name == "state_dir":
            value, origin = cli.paths.root, "--state-dir" if cli.options.state_dir else origin
        if name == "who":
            value = cli.who
        if name == "database_url":
            value = _database(settings.database_url(cli.settings), cli)
        found.append((name, _HIDDEN if name == "token" and value else value and str(value), origin))
    return found


def _database(url: str | None, cli: Cli) -> str:
    """Which database is in force, without its password."""
    from deployd.domain.database import told

    return told(url) if url else f"SQLite, {cli.paths.database}"


def _style(origin: str) -> str:
    return "dim" if origin == "default" else "cyan"
