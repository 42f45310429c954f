"""`deployd key`: SSH keys that may push to this machine: `git push deployd@control:web main`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli.context import parse_id
from deployd.cli.status import ago
from deployd.cli.verbs import Noun
from deployd.domain.ids import AppName
from deployd.errors import UsageError

if TYPE_CHECKING:
    from deployd.cli.context import Cli

keys = Noun("key", "SSH keys that may push: `git push deployd@control:web main` releases without a forge")


@keys.verb("add", example="deployd key add anna ~/.ssh/id_ed25519.pub --app web")
def add(
    cli: Cli,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is; written beside what is released.")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="The public key; - is stdin.")],
    *,
    app: Annotated[
        list[str] | None,
        typer.Option("--app", metavar="APP", help="To this app only; repeatable. [default: every app]"),
    ] = None,
) -> None:
    """Let a key push, and do nothing else: no shell, no forwarding, no fetching."""
    try:
        text = cli.out.stdin.read() if file == "-" else Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read", code="file-unreadable", fix="name a .pub file, or -") from error
    if not text.strip():
        raise UsageError(f"{file} is empty", code="key-invalid", fix="give the .pub file of an ed25519 key")
    apps = [parse_id(AppName.parse, one, flag="--app") for one in app or ()]
    made = cli.daemon.pushes.add_key(name, text.strip().partition("\n")[0], apps=apps)
    where = ", ".join(made["apps"]) or "every app"
    cli.out.result(made, f"{name} ({made['fingerprint']}) may push to {where}")
    if not cli.options.json:
        cli.out.note(f"sshd must read {made['file']}: `deployd install` tells it, docs/pushes.md has the lines")


@keys.verb("list", example="deployd key list")
def list_(cli: Cli) -> None:
    """List the keys."""
    found = cli.daemon.pushes.git_keys()
    if cli.options.json:
        cli.out.document(found)
        return
    if not found:
        cli.out.line("no key may push")
        cli.out.next("deployd key add NAME FILE")
        return
    rows = [
        (one["name"], one["fingerprint"], ", ".join(one["apps"]) or "all", ago(one["created"]), one["who"])
        for one in found
    ]
    cli.out.table(("KEY", "FINGERPRINT", "APPS", "ADDED", "BY"), rows)


@keys.verb("remove", example="deployd key remove anna")
def remove(cli: Cli, name: Annotated[str, typer.Argument(metavar="NAME", help="The key's name.")]) -> None:
    """Let a key push no more."""
    cli.daemon.pushes.remove_key(name)
    cli.out.result({"removed": name}, f"{name} may push no more")
