"""`deployd serve`, `login`, `logout`: the daemon in this process, and the way to one elsewhere."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli import daemons
from deployd.cli.verbs import verb
from deployd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from deployd.cli.context import Cli

_SERVICE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # systemd's own


@verb(example="deployd serve --listen 127.0.0.1:8300")
def serve(
    cli: Cli,
    *,
    listen: Annotated[
        str | None,
        typer.Option("--listen", metavar="ADDRESS", help="Listen for https here besides the unix socket."),
    ] = None,
) -> int:
    """Run the daemon here, until Ctrl-C or SIGTERM: pushes, schedules and this machine's commands go through it.

    It owns the state folder: a second one refuses with exit code 4. What runs at the end is finished, or parked and
    gone on with at the next start.
    """
    from deployd.daemon import main
    from deployd.settings import load

    def settings() -> Mapping[str, Any]:
        return {**load(), **({"listen": listen} if listen else {})}

    return main.serve(cli.paths, settings(), load=settings, who=cli.who)


@verb(example="sudo deployd install")
def install(
    cli: Cli,
    *,
    check: Annotated[bool, typer.Option("--check", help="Change nothing: say what would change.")] = False,
    open_metadata: Annotated[
        bool,
        typer.Option("--open-metadata", help="Let builds reach the address where a cloud gives out credentials."),
    ] = False,
) -> None:
    """Make this machine the control machine: the daemon becomes a service with a user of its own.

    What root's deployd kept here becomes the daemon's. Running it again changes nothing that is right already.
    """
    from deployd.hosts import control

    def told(line: str) -> None:
        if cli.options.verbose or line.startswith(("TASK [", "changed:", "fatal:")):
            cli.out.note(line)

    program = control.run(on_line=told, check=check, open_metadata=open_metadata)
    done = {"program": str(program), "unit": "/etc/systemd/system/deployd.service", "changed": not check}
    cli.out.result(done, "nothing was changed" if check else "the daemon runs, now and at every boot")
    if not all(shutil.which(name, path=_SERVICE_PATH) for name in ("node", "npm")):
        cli.out.warn("Node.js with npm is not here: builds and what finds a server's files need it (docs/daemon.md)")
    cli.out.next("deployd app add NAME --repository URL", "deployd token create", "journalctl -u deployd -f")


@verb(example="deployd login https://deployd.example")
def login(cli: Cli, url: Annotated[str, typer.Argument(metavar="URL", help="The daemon's address.")]) -> None:
    """Keep a daemon's address and a token: from then on every command goes there.

    The token is asked for, or read from stdin: `deployd token create` on the daemon's machine makes one.
    """
    from deployd.domain.secret import Secret
    from deployd.remote.client import RemoteClient
    from deployd.remote.connection import Daemon

    token = _token(cli)
    client = RemoteClient(Daemon(url=url, token=Secret(token)), cli.paths, who=cli.who)
    try:
        me = client.me()
    finally:
        client.close()
    file = daemons.write_login(url, token)
    apps = ", ".join(me["apps"]) or "every app"
    cli.out.result({"url": url, "file": str(file), **me}, f"logged in to {url} as {me['who']} ({me['scope']}, {apps})")


@verb(example="deployd logout")
def logout(cli: Cli) -> None:
    """Forget the daemon that `login` kept; the token stays valid until it is revoked."""
    file = daemons.login_file()
    known = file.exists()
    file.unlink(missing_ok=True)
    cli.out.result({"logged_out": known}, "logged out" if known else "you were not logged in")


def _token(cli: Cli) -> str:
    if cli.out.can_ask:
        import getpass

        text = getpass.getpass("Token: ")
    else:
        text = sys.stdin.readline()
    if not text.strip():
        raise UsageError("there is no token", code="token-missing", fix="pipe it: deployd login URL < token-file")
    return text.strip()
