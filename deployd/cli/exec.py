"""`deployd exec`: one command in the live release's environment, as the app's user."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli.verbs import verb
from deployd.errors import UsageError

if TYPE_CHECKING:
    from deployd.cli.context import Cli


@verb(example="deployd exec --host web1 -- node --version", passthrough=True)
def exec_(
    cli: Cli,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What to run, and its arguments.")],
) -> int:
    """Run a command with the live release's files, runtime and variables, in the app's own sandbox.

    Runs on the environment's first host, or on each --host. The command's exit code is deployd's.
    """
    app, environment = cli.where
    hosts = cli.hosts()
    chosen = hosts if cli.options.hosts else hosts[:1]
    if cli.options.json:
        raise UsageError(
            "exec passes the command's own output on: it has no --json", code="usage", fix="leave out --json"
        )
    code = 0
    for host in chosen:
        if len(chosen) > 1:
            cli.out.note(cli.out.paint(f"{host}:", "bold", on=cli.out.stderr))
        done = cli.client.exec(
            app,
            environment,
            host=host,
            argv=list(command),
            stdin=None if sys.stdin.isatty() or len(chosen) > 1 else sys.stdin.buffer,
            stdout=sys.stdout.buffer,
            stderr=sys.stderr.buffer,
        )
        code = max(code, done)
    return code
