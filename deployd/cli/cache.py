"""`deployd cache`: what builds on this machine keep for the next ones: list it, clear it, carry it to another one."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli.status import ago
from deployd.cli.verbs import Noun
from deployd.domain.quantity import format_size
from deployd.errors import UsageError

if TYPE_CHECKING:
    from deployd.cli.context import Cli
    from deployd.stages.build.cache import Entry

caches = Noun("cache", "What builds keep for the next ones: installed packages, .next/cache, what was fetched.")

_APP = Annotated[str | None, typer.Argument(metavar="[APP]", help="Only this app's.")]
_FILE = Annotated[str, typer.Argument(metavar="FILE", help="A tar file, packed as its name says: NAME.tar.gz.")]


@caches.verb("list", example="deployd cache list")
def list_(cli: Cli, app: _APP = None) -> None:
    """List what is kept, the last used first, and what it takes of the budget."""
    from deployd import settings
    from deployd.stages.build import cache

    found, budget = cache.entries(_folder(cli), app=app), settings.builds().cache_size
    total = sum(entry.size for entry in found)
    if cli.options.json:
        cli.out.document({"bytes": total, "budget": budget, "entries": [entry.to_json() for entry in found]})
        return
    rows = [
        (entry.app, entry.environment, entry.kind, entry.name, format_size(entry.size), ago(_iso(entry.used)))
        for entry in found
    ]
    if rows:
        cli.out.table(("APP", "ENVIRONMENT", "WHAT", "NAME", "SIZE", "USED"), rows, right=("SIZE",))
    cli.out.line(f"{format_size(total)} of {format_size(budget)} (cache_size)")


@caches.verb("clear", example="deployd cache clear shop")
def clear(cli: Cli, app: _APP = None) -> int:
    """Remove what is kept, of all apps or of one; the next build begins anew. What a build is using stays."""
    from deployd.stages.build import cache

    chosen = cache.entries(_folder(cli), app=app)
    if chosen and app is None:
        cli.confirm(f"Remove what the builds of {len({entry.app for entry in chosen})} apps keep?")
    gone, busy = cache.clear(chosen)
    cli.out.result(
        {"removed": [entry.to_json() for entry in gone], "busy": [entry.to_json() for entry in busy]},
        f"{format_size(sum(entry.size for entry in gone))} freed" if gone or busy else "nothing is kept",
    )
    if busy:
        cli.out.warn(f"{_names(busy)}: a build is using it; clear it once more afterwards")
    return 1 if busy else 0


@caches.verb("export", example="deployd cache export caches.tar.gz")
def export(cli: Cli, file: _FILE, app: _APP = None) -> None:
    """Write what is kept to a file, for another machine that builds the same apps."""
    from deployd.stages.build import cache

    found = cache.export(_folder(cli), Path(file), app=app)
    size = Path(file).stat().st_size
    cli.out.result(
        {"path": file, "bytes": size, "entries": [entry.to_json() for entry in found]},
        f"{_names(found)} in {file} ({format_size(size)})",
    )
    cli.out.next(f"deployd cache import {file}")


@caches.verb("import", example="deployd cache import caches.tar.gz")
def import_(cli: Cli, file: _FILE) -> None:
    """Take in what `export` wrote. Builds run what is in it: only from a machine that you trust as this one."""
    from deployd.stages.build import cache

    taken = cache.import_(_folder(cli), Path(file))
    cli.out.result({"entries": taken}, "\n".join(taken))


def _folder(cli: Cli) -> Path:
    if cli.settings.get("url"):
        raise UsageError(
            "the caches are on the daemon's machine", code="cache-elsewhere", fix="run this there, without DEPLOYD_URL"
        )
    from deployd.cli.daemons import find

    daemon = find(cli)
    if daemon is not None and daemon.socket != cli.paths.socket:
        raise UsageError(
            "the caches are the daemon's, in a folder that you cannot read",
            code="cache-elsewhere",
            fix="on the daemon's machine: sudo deployd cache list",
        )
    return cli.paths.make().caches


def _names(entries: list[Entry]) -> str:
    return ", ".join(dict.fromkeys(f"{entry.app} {entry.environment} {entry.kind}" for entry in entries))


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(min(moment, time.time()), UTC).isoformat()
