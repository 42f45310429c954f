"""`deployd releases`, `show` and `diff`: what was released, everything about one, and what differs between two."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployd.cli.render import clean
from deployd.cli.status import ago
from deployd.cli.verbs import verb
from deployd.domain.artifact import path_from_json
from deployd.domain.quantity import format_size
from deployd.domain.release import Mark, Release, ReleaseState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployd.cli.context import Cli

_RELEASE = Annotated[str, typer.Argument(metavar="RELEASE", help="A release id, or its last part.")]
_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}
_STYLES = {"current": "green", "bad": "red", "failed": "red", "dirty": "yellow", "good": "green"}


@verb(example="deployd releases")
def releases(
    cli: Cli, *, count: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=1, help="How many.")] = 20
) -> None:
    """List releases, newest first, with their marks.

    current, previous, good, bad, dirty (made of uncommitted work), prepared, failed, pruned.
    """
    app, environment = cli.where
    found = sorted(cli.client.releases(app, environment), key=lambda release: release.id, reverse=True)
    current, previous = live_order(found)
    rows = [(release, marks(release, current=current, previous=previous)) for release in found[:count]]
    if cli.options.json:
        cli.out.document([as_json(release) | {"marks": names} for release, names in rows])
        return
    if not rows:
        cli.out.line(f"{app} has no releases in {environment}")
        cli.out.next("deployd release")
        return
    cli.out.table(
        ("RELEASE", "COMMIT", "MARKS", "MADE", "BY", "WHAT"),
        [
            (
                cli.out.paint(str(release.id), "bold") if "current" in names else str(release.id),
                (release.commit or "-")[:7],
                " ".join(cli.out.paint(name, _STYLES.get(name, "dim")) for name in names),
                ago(release.created),
                clean(release.who),
                clean(release.message or release.subject or ""),
            )
            for release, names in rows
        ],
    )


@verb(example="deployd show k2x7")
def show(
    cli: Cli,
    release: Annotated[
        str, typer.Argument(metavar="RELEASE|ROLLOUT", help="A release id (or its last part), or the id of a rollout.")
    ],
) -> None:
    """Show everything about one release; of a rollout each step, host and duration, and why it ended so."""
    if release.startswith("r-"):
        from deployd.cli.story import show_rollout

        show_rollout(cli, cli.rollout_id(release))
        return
    found = cli.client.release_by_id(cli.release_id(release))
    app, environment = cli.where
    current, previous = live_order(cli.client.releases(app, environment))
    names = marks(found, current=current, previous=previous)
    if cli.options.json:
        cli.out.document(as_json(found) | {"marks": names})
        return
    cli.out.line(cli.out.paint(str(found.id), "bold"))
    cli.out.pairs(
        [
            ("  state", str(found.state)),
            ("  marks", " ".join(names)),
            ("  commit", found.commit or ""),
            ("  branch", clean(found.branch or "")),
            ("  subject", clean(found.subject or "")),
            ("  message", clean(found.message or "")),
            ("  by", clean(found.who)),
            ("  made", f"{found.created} ({ago(found.created)})"),
            ("  live", f"{found.live_at} ({ago(found.live_at)})" if found.live_at else "never"),
            ("  artifact", str(found.artifact)),
            ("  build id", str(found.build_id)),
            ("  runtime", str(found.runtime)),
        ]
    )


@verb(example="deployd diff k2x7 m3p9")
def diff(cli: Cli, before: _RELEASE, after: _RELEASE) -> None:
    """Show what differs between two releases: commit, runtime, routes, packages, and files by their hashes."""
    found = cli.client.diff(*(cli.release_id(text) for text in (before, after)))
    if cli.options.json:
        cli.out.document({name: one for name, one in found.items() if name != "sizes"})
        return
    out = cli.out
    out.line(f"{found['before']} → {out.paint(found['after'], 'bold')}")
    out.pairs([(f"  {name}", f"{one or '-'} → {two or '-'}") for name, (one, two) in found["changed"].items()])
    for title in ("routes", "packages"):
        if found[title]:
            out.line(f"{title}:")
        for name, change in found[title].items():
            sign, style = _SIGNS[change["kind"]]
            sizes = f"{format_size(change['before'])} → {format_size(change['after'])}"
            out.line(f"  {out.paint(sign, style)} {clean(name)}  {out.paint(_counted(change) + ', ' + sizes, 'dim')}")
    if found["routes"] or found["packages"]:
        out.line("files:")
    for kind, (sign, style) in _SIGNS.items():
        paths = [path_from_json(path) for path in found["files"][kind]]
        known = set(paths)
        for path in paths:
            if not (path.endswith((".br", ".gz")) and path[:-3] in known):  # compressed siblings go with their file
                out.line(f"{out.paint(sign, style)} {clean(path)}")
    counts = ", ".join(f"{len(found['files'][kind])} {kind}" for kind in _SIGNS)
    out.line(f"{counts}; {format_size(found['sizes'][0])} → {format_size(found['sizes'][1])}")


def _counted(change: Mapping[str, int]) -> str:
    return ", ".join(f"{change[kind]} {kind}" for kind in _SIGNS if change[kind])


def live_order(found: Sequence[Release]) -> tuple[str | None, str | None]:
    """Which release is current as deployd's records have it, and where a rollback without a name would go."""
    current = next((release.id for release in found if release.state is ReleaseState.LIVE), None)
    before = [
        release.id
        for release in found
        if release.was_live
        and release.mark is not Mark.BAD
        and release.state is not ReleaseState.PRUNED
        and (current is None or release.id < current)
    ]
    return current, max(before, default=None)


def marks(release: Release, *, current: str | None, previous: str | None) -> list[str]:
    """What is to be said of a release in a list."""
    found = []
    if release.id == current:
        found.append("current")
    elif release.id == previous:
        found.append("previous")
    if release.mark in {Mark.GOOD, Mark.BAD}:
        found.append(str(release.mark))
    if release.dirty:
        found.append("dirty")
    if release.state in {ReleaseState.PREPARED, ReleaseState.FAILED, ReleaseState.PRUNED, ReleaseState.NEW}:
        found.append(str(release.state))
    return found


def as_json(release: Release) -> dict[str, Any]:
    """A release as `releases --json` gives it."""
    fields: Mapping[str, Any] = asdict(release)
    return {name: str(value) if isinstance(value, str) else value for name, value in fields.items()}
