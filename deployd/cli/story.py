"""`deployd show ROLLOUT`: each step with its hosts and durations, and why it ended as it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployd.cli.render import clean
from deployd.cli.status import ago
from deployd.domain.quantity import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.cli.context import Cli
    from deployd.domain.ids import RolloutId

_MOST = 3  # fields of one happening that are shown
_DULL = frozenset({"app", "environment", "kind", "who", "hosts", "resumed", "release", "error", "v"})


def show_rollout(cli: Cli, rollout: RolloutId) -> None:
    """Draw one rollout, or the ask in the queue that it still is."""
    found = cli.client.story(rollout)
    if cli.options.json:
        cli.out.document(found)
        return
    record, ask = found["rollout"], found["ask"]
    cli.out.line(cli.out.paint(str(rollout), "bold"))
    head = record or ask
    cli.out.pairs(
        [
            ("  what", f"{head['kind']} of {head['app']} {head['environment'] or '(environment by branch)'}"),
            ("  state", head["outcome"] or head["state"]),
            ("  release", str((record or {}).get("release") or "")),
            ("  by", clean(head["who"])),
            ("  cause", " ".join(filter(None, (ask["cause"], clean(ask["branch"] or "")))) if ask else ""),
            ("  began", f"{head['created']} ({ago(head['created'])})"),
            ("  ended", head["finished"] or ""),
            ("  why", clean(why(head.get("error")) or str((ask or {}).get("reason") or ""))),
            ("  cancelled by", clean(str((record or {}).get("cancel_requested") or ""))),
            ("  superseded by", str((record or {}).get("superseded_by") or "")),
        ]
    )
    rows = [row for step in found["steps"] for row in _rows(cli, step)]
    if rows:
        cli.out.line()
        cli.out.table(("STEP", "TOOK", "WHERE", "WHAT"), rows)


def why(error: Mapping[str, Any] | None) -> str:
    """The sentence of a kept error, with its host."""
    if not error:
        return ""
    fields = error.get("fields", error)
    host = f"{fields['host']}: " if fields.get("host") else ""
    return f"{host}{fields.get('what') or ''}"


def _rows(cli: Cli, step: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    took = format_duration(step["seconds"]) if step["seconds"] is not None else "-"
    colour = {True: "green", False: "red"}.get(step["ok"], "dim")
    if step["name"] == "rollout":
        took = ""
    rows = [
        ("", "", clean(one["host"] or "this machine"), clean(_told(one)))
        for one in step["happenings"]
        if one["event"] not in {"stage_started", "stage_finished"}
    ]
    return [(cli.out.paint(step["name"], colour), took, "", ""), *rows]


def _told(happening: Mapping[str, Any]) -> str:
    shown = [
        f"{name} {value}"
        for name, value in happening["fields"].items()
        if name not in _DULL and isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
    ]
    return ", ".join([happening["event"].replace("_", " "), *shown[:_MOST]])
