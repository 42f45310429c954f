"""`deployd pin`, `unpin` and `mark`: what people say of a release, and whether automatic releases may follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli.verbs import Noun, verb
from deployd.domain.release import Mark

if TYPE_CHECKING:
    from deployd.cli.context import Cli

marks = Noun("mark", "Say that a release is good or bad: a rollback without a name goes to the last good one.")

_RELEASE = Annotated[str, typer.Argument(metavar="RELEASE", help="A release id, or its last part.")]


@verb(example="deployd pin")
def pin(
    cli: Cli,
    release: Annotated[
        str | None, typer.Argument(metavar="[RELEASE]", help="The release to stay at. [default: what is live]")
    ] = None,
) -> None:
    """Keep an environment where it is: it takes no automatic release until `unpin`."""
    app, environment = cli.where
    pinned = cli.client.pin(app, environment, release=cli.release_id(release) if release else None)
    at = f" at {pinned.release}" if pinned.release else ""
    cli.out.result({"pin": pinned.to_json()}, f"{app} {environment} is pinned{at}")
    cli.out.next("deployd unpin")


@verb(example="deployd unpin")
def unpin(cli: Cli) -> None:
    """Let automatic releases go on."""
    app, environment = cli.where
    was = cli.client.unpin(app, environment)
    text = f"{app} {environment} takes automatic releases again" if was else f"{app} {environment} was not pinned"
    cli.out.result({"pin": None, "was_pinned": was}, text)


@marks.verb("good", example="deployd mark good k2x7")
def good(cli: Cli, release: _RELEASE) -> None:
    """Say that a release is good."""
    _mark(cli, release, Mark.GOOD)


@marks.verb("bad", example="deployd mark bad k2x7")
def bad(cli: Cli, release: _RELEASE) -> None:
    """Say that a release is bad: no rollback without its name goes there."""
    _mark(cli, release, Mark.BAD)


def _mark(cli: Cli, text: str, mark: Mark) -> None:
    release = cli.release_id(text)
    cli.client.mark(release, mark)
    cli.out.result({"release": release, "mark": str(mark)}, f"{release} is marked {mark}")
