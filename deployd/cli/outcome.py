"""How a rollout ended, for people: one line, what to do next, and the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.domain.quantity import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.cli.context import Cli
    from deployd.rollouts.wishes import RolloutResult

EXIT_CODES = {
    "live": 0,
    "prepared": 0,
    "waiting": 0,
    "failed": 1,
    "partly_live": 3,
    "superseded": 7,
    "cancelled": 130,
}


def conclude(cli: Cli, result: RolloutResult, *, verb: str = "live") -> int:
    """Draw the last line of a rollout and return its exit code; with `--json` the events have said it."""
    out = cli.out
    if cli.options.json:
        return EXIT_CODES[result.outcome]
    count = len(result.hosts)
    hosts = f"{count} host{'' if count == 1 else 's'}"
    took = format_duration(result.duration_s)
    flip = f"  (flip {format_duration(result.flip_s)})" if result.flip_s is not None else ""
    release = out.paint(str(result.release), "bold") if result.release else ""
    if result.outcome == "live":
        out.line(f"{out.paint('✓', 'green', 'bold')} {verb} on {hosts} in {took}{flip}  {release}")
        back = ["deployd rollback"] if result.previous else []
        _own_address(cli, result)
        out.next("deployd status", *back, "deployd logs -f")
    elif result.outcome in {"prepared", "waiting"}:
        said = "prepared, and waits for an approval," if result.outcome == "waiting" else "prepared"
        out.line(f"{out.paint('✓', 'green', 'bold')} {said} on {hosts} in {took}  {release}")
        _own_address(cli, result)
        approve = [f"deployd approve {result.rollout}"] if result.outcome == "waiting" else []
        out.next(*approve, f"deployd show {result.release}", "deployd release")
    else:
        rows = [
            (str(host["name"]), str(host.get("release") or "-"), str(host.get("state") or "")) for host in result.hosts
        ]
        out.line(f"{out.paint('✗', 'red', 'bold')} {result.outcome.replace('_', ' ')} after {took}  {release}")
        out.table(("HOST", "RELEASE", "STATE"), rows)
        out.next("deployd status", "deployd rollouts")
    return EXIT_CODES[result.outcome]


def _own_address(cli: Cli, result: RolloutResult) -> None:
    """Where the release can be seen by its own name, when the app's file is here and says so."""
    from deployd.cli.open import address_of

    url = address_of(cli, str(result.release)) if result.release else None
    if url:
        cli.out.line(f"  see it at {url}")


def conclude_all(cli: Cli, results: Sequence[RolloutResult]) -> int:
    """The same for several; the worst exit code wins."""
    return max((conclude(cli, result) for result in results), default=0)
