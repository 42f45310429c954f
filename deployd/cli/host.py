"""`deployd host`: servers that deployd knows, their pinned keys and their check-up; and `deployd doctor`."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployd.cli.context import parse_id, select
from deployd.cli.places import only_one_name, parse_fingerprint, parse_identity, parse_place, same_fingerprint, shown
from deployd.cli.verbs import Noun, verb
from deployd.domain.host import Host
from deployd.domain.ids import AppName, HostName
from deployd.errors import CommandError, HostError, NotFoundError, UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deployd.cli.context import Cli
    from deployd.domain.ids import EnvironmentName

hosts = Noun("host", "Servers that deployd knows.")

_TASK = re.compile(r"(?:TASK|RUNNING HANDLER) \[(.*)\]")
NAMES = Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Hosts; web* works. [default: all]")]


@hosts.verb("add", example="deployd host add web1 root@203.0.113.7 --identity ~/.ssh/id_ed25519")
def add(
    cli: Cli,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name in deployd.")],
    place: Annotated[
        str, typer.Argument(metavar="[USER@]ADDRESS[:PORT]", help="Where it is, and the admin to log in as.")
    ],
    identity: Annotated[
        Path | None, typer.Option("--identity", "-i", metavar="FILE", help="The admin's private key.")
    ] = None,
    fingerprint: Annotated[
        str | None,
        typer.Option(
            "--fingerprint", metavar="SHA256:...", help="The key that the host must have; then nothing is asked."
        ),
    ] = None,
) -> None:
    """Get to know a server: show its key's fingerprint, and pin it after a yes.

    Compare the fingerprint with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on the server's console.
    """
    host_name = parse_id(HostName.parse, name, flag="NAME")
    user, address, port = parse_place(place)
    if fingerprint is not None:
        parse_fingerprint(fingerprint)
    identity = None if identity is None else parse_identity(identity)
    from deployd.hosts import keys

    known = _known(cli, host_name)
    others = [host for host in cli.client.hosts() if host.name != host_name]
    only_one_name(others, address, port)
    key, found = keys.scan(address, port)
    if fingerprint is not None:
        same_fingerprint(name, fingerprint, found)
    elif not (known and known.host_key == key):
        cli.out.note(f"{name} ({address}) has the key\n  {key.split()[0]} {found}")
        if known:
            cli.out.warn(f"the key pinned for {name} until now is another: {keys.fingerprint(known.host_key)}")
        cli.confirm("Is that its key?", flag=f"--fingerprint {found}")
    for other in others:
        if other.host_key == key:
            cli.out.warn(
                f"{other.name} ({other.address}) has the same key: keep one of the names if it is the same server"
            )
    host = Host(
        name=host_name,
        address=address,
        port=port,
        admin_user=user,
        identity=str(identity) if identity else None,
        host_key=key,
    )
    cli.client.add_host(host)
    cli.out.result(
        as_json(host) | {"fingerprint": found}, f"{name} is {user}@{shown(address, port)}, its key is pinned"
    )
    cli.out.next(f"deployd host bootstrap {name}")


@hosts.verb("list", example="deployd host list")
def list_(cli: Cli) -> None:
    """List the servers that deployd knows."""
    found = cli.client.hosts()
    chosen = set(select([host.name for host in found], cli.options.hosts))
    found = tuple(host for host in found if host.name in chosen)
    drained = cli.client.servers.drained()
    if cli.options.json:
        cli.out.document([as_json(host) | {"drained": host.name in drained} for host in found])
        return
    if not found:
        cli.out.line("no hosts yet")
        cli.out.next("deployd host add web1 root@ADDRESS", "deployd lab up --hosts 2")
        return
    from deployd.hosts import keys

    rows = [
        (
            cli.out.paint(str(host.name), "bold"),
            shown(host.address, host.port),
            host.admin_user,
            keys.fingerprint(host.host_key),
            *((f"by {drained[host.name]}" if host.name in drained else "",) if drained else ()),
        )
        for host in found
    ]
    cli.out.table(("NAME", "ADDRESS", "ADMIN", "KEY", *(("DRAINED",) if drained else ())), rows)


@hosts.verb("check", example="deployd host check web1")
def check(cli: Cli, names: NAMES = None) -> int:
    """Look each server over; every finding comes with its fix.

    Exits with 1 when something is wrong, and with 6 when a host cannot be reached.
    """
    return check_hosts(cli, chosen_hosts(cli, names))


@hosts.verb("bootstrap", example="deployd host bootstrap web1 web2")
def bootstrap(cli: Cli, names: NAMES = None) -> None:
    """Make bare servers ready: packages, the deployd user with its restricted key, the helper, the web server.

    Running it again changes nothing that is right already.
    """
    chosen = chosen_hosts(cli, names)
    from deployd.hosts import bootstrap as playbook

    cli.out.note(f"bootstrapping {', '.join(host.name for host in chosen)}: a few minutes on a bare server")
    seen: set[str] = set()
    key = cli.client.servers.key_elsewhere()
    playbook.run(
        chosen,
        paths=cli.paths.make() if key is None else None,
        public_key=key,
        on_line=lambda line: _show_ansible(cli, line, seen),
        on_taken=lambda name: cli.out.warn(
            f"{name} obeyed another machine's deployd until now, which is locked out: a host has one "
            "(people share it through a daemon: docs/daemon.md)"
        ),
    )
    if key is not None:
        _prove(cli, chosen)
    cli.out.result(
        {"bootstrapped": [str(host.name) for host in chosen]},
        f"{', '.join(host.name for host in chosen)} can take releases",
    )
    cli.out.next("deployd host check", "deployd release --plan")


def _prove(cli: Cli, chosen: Sequence[Host]) -> None:
    """Have the daemon log in as its rollouts will: a host is made only when that works."""
    found, _ = cli.client.servers.check(chosen)
    for one in found:
        if one["level"] == "error":
            raise HostError(
                str(one["what"]),
                code="bootstrap-failed",
                host=str(one["host"]),
                live="what was live still is: bootstrapping touches no release",
                fix=str(one["fix"] or "see `deployd host check`"),
            )


def _show_ansible(cli: Cli, line: str, seen: set[str]) -> None:
    """Ansible's tasks as one line each; all that it says with `-v`. (A failure is told by the error.)"""
    task = _TASK.match(line)
    if cli.options.verbose:
        cli.out.note(line)
    elif task and task[1] not in seen:
        seen.add(task[1])
        cli.out.note(f"{cli.out.paint('→', 'cyan', on=cli.out.stderr)} {task[1]}")


@hosts.verb("drain", example="deployd host drain web1 --timeout 2m")
def drain(
    cli: Cli,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Hosts; web* works.")],
    app: Annotated[
        str | None, typer.Option("--app", metavar="APP", help="Only this app, in `-e`'s environment.")
    ] = None,
    wait: Annotated[str, typer.Option("--wait", metavar="T", help="How long load balancers take to notice.")] = "10s",
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="T", help="How long open requests are waited for, with --wait.")
    ] = "2m",
) -> int:
    """Have load balancers leave hosts alone: `/.deployd/health` answers 503, everything else is served as ever.

    It lasts until `undrain`, also over reboots. Releases reach drained hosts like the others. Exits with 1 when
    requests are still open after --timeout; the hosts stay drained.
    """
    from deployd.cli import draining
    from deployd.cli.release import seconds_of

    spans = [seconds_of(text, flag=flag) for text, flag in ((wait, "--wait"), (timeout, "--timeout"))]
    return draining.drain(cli, chosen_hosts(cli, names), _app_of(cli, app), wait=spans[0], timeout=spans[1])


@hosts.verb("undrain", example="deployd host undrain web1")
def undrain(
    cli: Cli,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Hosts; web* works.")],
    app: Annotated[
        str | None, typer.Option("--app", metavar="APP", help="Only this app, in `-e`'s environment.")
    ] = None,
) -> int:
    """Give drained hosts back to load balancers."""
    from deployd.cli import draining

    return draining.undrain(cli, chosen_hosts(cli, names), _app_of(cli, app))


def _app_of(cli: Cli, app: str | None) -> tuple[AppName, EnvironmentName] | None:
    return None if app is None else (parse_id(AppName.parse, app, flag="--app"), cli.environment)


@hosts.verb("remove", example="deployd host remove web1 --yes")
def remove(cli: Cli, names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Hosts; web* works.")]) -> None:
    """Forget servers. What runs on them stays as it is."""
    chosen = chosen_hosts(cli, names)
    cli.confirm(f"Forget {', '.join(host.name for host in chosen)}? What runs there stays.")
    for host in chosen:
        cli.client.remove_host(host.name)
    cli.out.result(
        {"removed": [str(host.name) for host in chosen]},
        f"{', '.join(host.name for host in chosen)} forgotten; nothing changed there",
    )


@hosts.verb("ssh", example="deployd host ssh web1 -- uptime", passthrough=True)
def ssh(
    cli: Cli,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The host.")],
    command: Annotated[list[str] | None, typer.Argument(metavar="[-- COMMAND...]", help="What to run there.")] = None,
) -> None:
    """Log in as the host's admin, with the pinned key."""
    words = command[1:] if command and command[0] == "--" else command or []
    host = cli.client.host(parse_id(HostName.parse, name, flag="NAME"))
    from deployd.hosts import keys

    program = shutil.which("ssh")
    if not program:
        raise CommandError("ssh is not installed on this machine", code="command-missing", fix="install openssh-client")
    pinned = cli.paths.make().known_hosts
    keys.write_known_hosts(cli.client.hosts(), pinned)
    algorithms = keys.algorithms(host.host_key)
    argv = ssh_argv(host, known_hosts=pinned, algorithms=algorithms, command=words)
    sys.stdout.flush()
    os.execv(program, argv)  # noqa: S606 - the person's own terminal goes to ssh: this process has nothing left to do


def ssh_argv(host: Host, *, known_hosts: Path, algorithms: Sequence[str], command: Sequence[str] = ()) -> list[str]:
    """The command line of OpenSSH's client that accepts the pinned key only."""
    identity = ["-i", host.identity, "-o", "IdentitiesOnly=yes"] if host.identity else []
    return [
        "ssh",
        "-p",
        str(host.port),
        "-l",
        host.admin_user,
        *identity,
        "-o",
        f"UserKnownHostsFile={known_hosts}",
        "-o",
        "GlobalKnownHostsFile=/dev/null",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        f"HostKeyAlgorithms={','.join(algorithms)}",
        "--",
        host.address,
        *command,
    ]


@verb(example="deployd doctor")
def doctor(cli: Cli) -> int:
    """Check this machine and the environment's hosts (all known hosts, outside of an app); each finding has its fix."""
    tools = [tool for tool in _TOOLS if tool[0] != "bwrap" or cli.settings.get("build_sandbox") != "off"]
    findings = [_tool(*tool) for tool in tools]
    known = cli.client.hosts()
    from deployd.remote.client import RemoteClient

    if not isinstance(cli.client, RemoteClient):
        findings.append(("this machine", "ok", f"the database answers: {cli.client.store.database.told}", ""))
    try:
        names = cli.hosts()
    except UsageError:
        names = select([host.name for host in known], cli.options.hosts)
    missing = [name for name in names if name not in {host.name for host in known}]
    findings += [
        ("this machine", "error", f"host {name} of the app is not known here", f"deployd host add {name} ADDRESS")
        for name in missing
    ]
    return check_hosts(cli, [host for host in known if host.name in names], before=findings)


_TOOLS = (
    ("git", "needed to fetch sources"),
    ("rsync", "needed to ship releases"),
    ("ssh", "needed to ship releases"),
    ("npm", "needed to build Node.js apps"),
    ("bwrap", "needed to contain what builds do"),
)
_PACKAGES = {"ssh": "openssh-client", "bwrap": "bubblewrap"}


def _tool(name: str, why: str) -> tuple[str, str, str, str]:
    if shutil.which(name):
        return ("this machine", "ok", f"{name} is there", "")
    return ("this machine", "error", f"{name} is missing: {why}", f"apt install {_PACKAGES.get(name, name)}")


def check_hosts(cli: Cli, chosen: Sequence[Host], *, before: Sequence[tuple[str, str, str, str]] = ()) -> int:
    """Check hosts, draw what was found, and return the exit code."""
    rows = list(before)
    found, far = cli.client.servers.check(chosen) if chosen else ([], [])
    rows += [(str(one["host"]), one["level"], one["what"], one["fix"] or "") for one in found]
    _draw_findings(cli, rows, [str(host.name) for host in chosen])
    if far:
        return UnreachableError.exit_code
    return 1 if any(level == "error" for _, level, _, _ in rows) else 0


def _draw_findings(cli: Cli, rows: Sequence[tuple[str, str, str, str]], names: Sequence[str]) -> None:
    if cli.options.json:
        keys = ("host", "level", "what", "fix")
        cli.out.document([dict(zip(keys, row, strict=True)) for row in rows])
        return
    marks = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "error": ("✗", "red")}
    order = ("this machine", *names)
    label = max((len(name) for name in order), default=0)
    for about in order:
        for level, what, fix in [(level, what, fix) for host, level, what, fix in rows if host == about]:
            mark, style = marks.get(level, ("·", "dim"))
            if level == "ok" and cli.options.quiet:
                continue
            cli.out.line(f"{cli.out.paint(mark, style)} {cli.out.paint(about.ljust(label), 'bold')}  {what}")
            if fix and level != "ok":
                cli.out.line(f"  {' ' * label}  {cli.out.paint('fix', 'dim')} {fix}")
    wrong = sum(level == "error" for _, level, _, _ in rows)
    warned = sum(level == "warn" for _, level, _, _ in rows)
    if not rows:
        cli.out.line("no hosts to check: deployd host add NAME ADDRESS")
    elif wrong or warned:
        cli.out.line(f"{wrong} wrong, {warned} to look at")
    else:
        cli.out.line("all well")


def chosen_hosts(cli: Cli, names: Sequence[str] | None) -> list[Host]:
    """The known hosts that the arguments (or `--host`) name; all of them without any."""
    known = cli.client.hosts()
    if not known:
        raise NotFoundError("no hosts are known", code="no-hosts", fix="add one: deployd host add web1 root@ADDRESS")
    chosen = select([host.name for host in known], [*(names or ()), *cli.options.hosts])
    return [host for host in known if host.name in chosen]


def as_json(host: Host) -> dict[str, Any]:
    """A host as `host list --json` gives it."""
    return {
        "name": host.name,
        "address": host.address,
        "port": host.port,
        "user": host.admin_user,
        "identity": host.identity,
        "host_key": host.host_key,
    }


def _known(cli: Cli, name: HostName) -> Host | None:
    return next((host for host in cli.client.hosts() if host.name == name), None)
