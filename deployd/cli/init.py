"""`deployd init`: an app's folder comes in, a commented `deployd.toml` goes out; nothing is overwritten unasked."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated

import typer

from deployd import appfile
from deployd.cli.context import parse_id
from deployd.cli.verbs import verb
from deployd.domain.ids import AppName, HostName
from deployd.domain.options import APP_FILE
from deployd.errors import DeploydError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deployd.cli.context import Cli
    from deployd.stages.build.explained import Explained


@verb(example="deployd init --hosts web1,web2")
def init(
    cli: Cli,
    name: Annotated[
        str | None, typer.Option("--name", metavar="APP", help="The app's name. [default: from package.json]")
    ] = None,
    hosts: Annotated[
        str | None,
        typer.Option("--hosts", metavar="A,B", help="The environment's hosts. [default: all that deployd knows]"),
    ] = None,
) -> None:
    """Detect the framework and write a commented deployd.toml.

    An existing file is only replaced after a yes (or --yes).
    """
    from deployd.cli import annotated

    folder = (cli.options.app_dir or _here()).absolute()
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is not a folder", code="app-dir-missing", fix="name the app's folder with --app-dir"
        )
    app = parse_id(AppName.parse, name, flag="--name") if name else app_name(folder)
    fleet = _fleet(cli, hosts)
    path = folder / APP_FILE
    new = not path.exists()
    if not new:
        cli.confirm(f"{path} is there already. Replace it?")
    known = _explained(folder)
    found, probe = known.name, known.probe
    branch = _branch(folder)
    text = annotated.app_text(
        name=app,
        environment=str(cli.environment),
        branch=branch,
        hosts=fleet,
        framework=found,
        health=probe.path if probe else None,
        answers=probe.status if probe else None,
        before=known.before,
    )
    appfile.parse(text)
    path.write_text(text, encoding="utf-8")
    if new:
        path.chmod(0o644)  # it belongs to the repository, unlike all that is made with the state folder's umask
    if cli.options.json:
        cli.out.document(
            {
                "path": str(path),
                "name": app,
                "framework": found,
                "probe": probe.path if probe else None,
                "hosts": fleet,
                "branch": branch,
                "found": dict(known.found),
                "assumed": list(known.assumed),
                "problems": list(known.problems),
            }
        )
        return
    cli.out.done(f"wrote {path}: {app}" + (f", {found}" if found else ""))
    if known.found and not cli.options.quiet:
        cli.out.pairs([(what, text) for what, text in known.found if what != "app"])
    for text in known.assumed:
        cli.out.note(f"assumed: {text}")
    for text in known.problems:
        cli.out.warn(text)
    if not fleet:
        cli.out.next("deployd host add web1 root@ADDRESS", f"# then name it in {path.name}, under hosts")
    else:
        cli.out.next("deployd host check", "deployd release --plan", "deployd release")


def app_name(folder: Path) -> AppName:
    """The app's name: package.json's without its scope, else the folder's, made to fit."""
    text = folder.name
    try:
        package = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        named = package.get("name") if isinstance(package, dict) else None
        text = named if isinstance(named, str) and named else text
    except (OSError, ValueError):
        text = folder.name
    fitted = re.sub(r"[^a-z0-9]+", "-", text.rpartition("/")[2].lower()).strip("-")
    fitted = re.sub(r"^[^a-z]+", "", fitted)[:30].strip("-")
    return AppName.parse(fitted) if fitted else AppName("app")


def _here() -> Path:
    from pathlib import Path

    return Path.cwd()


def _fleet(cli: Cli, hosts: str | None) -> list[str]:
    if hosts is not None:
        return [parse_id(HostName.parse, part.strip(), flag="--hosts") for part in hosts.split(",") if part.strip()]
    return [str(host.name) for host in cli.client.hosts()]


def _explained(folder: Path) -> Explained:
    """What the app is made with, and what stands in the way; the file can be written anyway."""
    from deployd.cli.release import repository_of
    from deployd.stages.build import explained

    top = repository_of(folder)
    return explained.explain(folder.resolve(), root=top[0] if top else folder.resolve())


def _branch(folder: Path) -> str:
    """The branch that is checked out, or main."""
    from deployd import process

    try:
        found: Sequence[str] = process.run(["git", "-C", str(folder), "symbolic-ref", "--short", "HEAD"]).text.split()
    except DeploydError:
        return "main"
    return found[0] if found and not found[0].startswith("-") else "main"
