"""`deployd lab`: disposable servers on this machine: up, down, status, ssh, reboot, cut, mend."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli.verbs import Noun
from deployd.errors import CancelledError, CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.cli.context import Cli
    from deployd.lab import LabHost

lab = Noun("lab", "Disposable servers on this machine, to try deployd on. Linux with root.")

_NAME = Annotated[str, typer.Option("--name", metavar="LAB", help="Which lab; several can stand side by side.")]
_HOST = Annotated[str, typer.Argument(metavar="HOST", help="web1, web2, ...")]
_DEFAULT = "default"


@lab.verb("up", example="deployd lab up --hosts 2")
def up(
    cli: Cli,
    count: Annotated[int, typer.Option("--hosts", metavar="N", help="At least so many hosts.")] = 2,
    name: _NAME = _DEFAULT,
    disk: Annotated[
        str | None,
        typer.Option("--disk", metavar="SIZE", help="Limit the disk of the hosts that this adds: 500M."),
    ] = None,
    suite: Annotated[
        str, typer.Option("--suite", metavar="SUITE", help="Which Debian a new lab has: bookworm or trixie.")
    ] = "bookworm",
) -> None:
    """Boot bare Debian hosts, and return once they let root in.

    Running ones are left alone, dead ones booted again, more added for a larger --hosts. The first lab takes half a
    minute, to make the tree that all labs share; later ones take a second. If it is interrupted, nothing of it is left.
    """
    from deployd import lab as labs

    try:
        made = labs.up(name, hosts=count, disk=disk, suite=suite, report=cli.out.note)
    except KeyboardInterrupt:
        raise CancelledError("interrupted; what this made is gone again", fix="run it again when you like") from None
    if cli.options.json:
        cli.out.document([host.to_json() for host in made.hosts])
        return
    cli.out.done(f"lab {made.name} is up: {_count(len(made.hosts))} in {made.subnet}")
    _draw(cli, made.hosts)
    cli.out.next(*(_add(host) for host in made.hosts), f"deployd lab ssh{_flag(name)} {made.hosts[0].name}")


@lab.verb("down", example="deployd lab down")
def down(
    cli: Cli,
    *,
    name: _NAME = _DEFAULT,
    every: Annotated[bool, typer.Option("--all", help="Every lab on this machine.")] = False,
    cache: Annotated[bool, typer.Option("--cache", help="Also the cached base trees that no lab stands on.")] = False,
) -> None:
    """Take a lab away, without asking.

    No process, mount, namespace, link or file of it stays.
    """
    from deployd import lab as labs

    names = labs.existing() if every else (name,)
    gone = [each for each in names if labs.down(each)]
    if cache:
        labs.purge()
    cli.out.result({"down": gone}, f"gone: {', '.join(gone)}" if gone else "there was no lab to take down")


@lab.verb("status", example="deployd lab status --json")
def status(cli: Cli, name: _NAME = _DEFAULT) -> None:
    """Show a lab's hosts, and how to reach them."""
    from deployd import lab as labs

    found = labs.status(name)
    if cli.options.json:
        cli.out.document([host.to_json() for host in found])
        return
    if found:
        _draw(cli, found)
        return
    cli.out.line(f"there is no lab {name}")
    others = [f"deployd lab status --name {other}" for other in labs.existing()]
    cli.out.next(*others, f"deployd lab up{_flag(name)} --hosts 2")


@lab.verb("ssh", example="deployd lab ssh web1 -- systemctl status", passthrough=True)
def ssh(
    cli: Cli,
    host: _HOST,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND...]", help="What to run there; one word is a line for its shell."),
    ] = None,
    name: _NAME = _DEFAULT,
) -> None:
    """Log in as root, or run one command there."""
    from deployd import lab as labs

    words = [word for index, word in enumerate(command or ()) if index or word != "--"]
    argv = labs.ssh_argv(name, host, ["sh", "-c", words[0]] if len(words) == 1 else words)
    program = shutil.which(argv[0])
    if not program:
        raise CommandError("ssh is not installed here", code="command-missing", fix="apt-get install openssh-client")
    cli.out.stdout.flush()
    sys.stdout.flush()
    os.execv(program, argv)  # noqa: S606 - the person's terminal goes to ssh: this process has nothing left to do


@lab.verb("reboot", example="deployd lab reboot web1")
def reboot(
    cli: Cli,
    host: _HOST,
    *,
    hard: Annotated[bool, typer.Option("--hard", help="Pull the plug instead of asking systemd.")] = False,
    name: _NAME = _DEFAULT,
) -> None:
    """Reboot a host, and return once it lets root in again.

    Its address, disk and host key stay.
    """
    from deployd import lab as labs

    back = labs.reboot(name, host, hard=hard)
    cli.out.result(back.to_json(), f"{host} is back at {back.address}")


@lab.verb("cut", example="deployd lab cut web1")
def cut(cli: Cli, host: _HOST, name: _NAME = _DEFAULT) -> None:
    """Pull a host's network cable; it lives on."""
    from deployd import lab as labs

    labs.cut(name, host)
    cli.out.result({"cut": host}, f"{host} is cut off")
    cli.out.next(f"deployd lab mend{_flag(name)} {host}")


@lab.verb("mend", example="deployd lab mend web1")
def mend(cli: Cli, host: _HOST, name: _NAME = _DEFAULT) -> None:
    """Put a host's network cable back."""
    from deployd import lab as labs

    labs.mend(name, host)
    cli.out.result({"mended": host}, f"{host} is connected")


def _draw(cli: Cli, hosts: Sequence[LabHost]) -> None:
    from deployd.hosts import keys

    rows = [
        (cli.out.paint(host.name, "bold"), host.address, host.user, _state(cli, host), keys.fingerprint(host.host_key))
        for host in hosts
    ]
    cli.out.table(("HOST", "ADDRESS", "USER", "STATE", "HOST KEY"), rows)
    if hosts:
        cli.out.note(f"root's key: {hosts[0].identity}")


def _state(cli: Cli, host: LabHost) -> str:
    return cli.out.paint("running", "green") if host.running else cli.out.paint("down", "red")


def _add(host: LabHost) -> str:
    from deployd.hosts import keys

    seen = keys.fingerprint(host.host_key)
    return f"deployd host add {host.name} {host.user}@{host.address} --identity {host.identity} --fingerprint {seen}"


def _flag(name: str) -> str:
    return "" if name == _DEFAULT else f" --name {name}"


def _count(number: int) -> str:
    return "1 host" if number == 1 else f"{number} hosts"
