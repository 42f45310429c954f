"""`deployd env`: variables of an environment. Values are asked for, or come by stdin or a file, never by argv."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli import dotenv
from deployd.cli.status import ago
from deployd.cli.verbs import Noun
from deployd.domain.secret import Secret
from deployd.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.cli.context import Cli
    from deployd.domain.rollout import Variable

variables = Noun(
    "env", "Variables of an environment: encrypted here, sent with each release, brought back by a rollback."
)

_PUBLIC = "NEXT_PUBLIC_"
_RESERVED = frozenset({"NODE_ENV", "PORT", "HOSTNAME", "HOME", "LISTEN_FDS", "LISTEN_PID", "KEEP_ALIVE_TIMEOUT"})
_LARGEST = 100_000  # bytes; Linux takes 128 KiB with the name, a daemon as much as this
# deployd's own keys to the bucket of `assets`; neither builds nor servers get them
_OWN = frozenset({"DEPLOYD_ASSETS_ACCESS_KEY_ID", "DEPLOYD_ASSETS_SECRET_ACCESS_KEY"})
_BUILD = Annotated[bool, typer.Option("--build", help=f"For the build, not the server. {_PUBLIC}* are always so.")]
_BOTH = Annotated[bool, typer.Option("--both", help="For the build and the server, such as a database's address.")]


@variables.verb("set", example="deployd env set SESSION_SECRET")
def set_(
    cli: Cli,
    keys: Annotated[
        list[str], typer.Argument(metavar="KEY...", help="KEY asks for the value; KEY=- reads it from stdin.")
    ],
    *,
    build: _BUILD = False,
    both: _BOTH = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Take KEY=VALUE: others on this machine can read it there.")
    ] = False,
) -> None:
    """Set variables. They are part of the next release; what is live keeps those it was released with."""
    if sum(key.endswith("=-") for key in keys) > 1:
        raise UsageError(
            "stdin holds one value", code="usage", fix="read one variable with KEY=-, or use `deployd env import -`"
        )
    _keep(cli, {key.partition("=")[0]: _value(cli, key, plain=plain) for key in keys}, build=build, both=both)


@variables.verb("import", example="deployd env import .env.production")
def import_(
    cli: Cli,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A dotenv file; - is stdin.")],
    *,
    build: _BUILD = False,
    both: _BOTH = False,
) -> None:
    """Set every variable of a dotenv file."""
    try:
        text = cli.out.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        values = dotenv.parse(text)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}", code="file-unreadable", fix="name a dotenv file, or -"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{file}: {error}", code="dotenv-invalid", fix="quote values that hold quotes, backslashes or several lines"
        ) from None
    _keep(cli, values, build=build, both=both)


@variables.verb("pull", example="deployd env pull .env.local")
def pull(
    cli: Cli, file: Annotated[str, typer.Argument(metavar="[FILE]", help="Where to write; - is stdout.")] = "-"
) -> None:
    """Write the variables, with their values, as a dotenv file that only you can read."""
    app, environment = cli.where
    if file == "-" and cli.out.is_terminal:
        cli.confirm("Show the values on this terminal?")
    revealed = {name: secret.reveal() for name, secret in cli.client.reveal_variables(app, environment).items()}
    if file == "-":
        if cli.options.json:
            cli.out.document(revealed)
        else:
            cli.out.stdout.write(dotenv.write(revealed))
        return
    if Path(file).exists():
        cli.confirm(f"{file} is there already. Replace it?")
    _write_private(Path(file), dotenv.write(revealed))
    cli.out.result(
        {"path": file, "variables": len(revealed)}, f"{len(revealed)} variables in {file}: keep it out of git"
    )


@variables.verb("list", example="deployd env list")
def list_(cli: Cli) -> None:
    """List the variables' names; values are never shown."""
    app, environment = cli.where
    found = sorted(cli.client.variables(app, environment), key=lambda variable: variable.key)
    if cli.options.json:
        cli.out.document([variable.to_json() for variable in found])
        return
    if not found:
        cli.out.line(f"{app} has no variables in {environment}")
        cli.out.next("deployd env set SESSION_SECRET", "deployd env import .env.production")
        return
    rows = [(item.key, _served(item), ago(item.updated), "deployd" if item.managed else item.who) for item in found]
    cli.out.table(("NAME", "FOR", "SET", "BY"), rows)


@variables.verb("unset", example="deployd env unset SESSION_SECRET")
def unset(cli: Cli, keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="Names.")]) -> None:
    """Remove variables from the next release on."""
    app, environment = cli.where
    known = {variable.key for variable in cli.client.variables(app, environment)}
    for key in keys:
        if key not in known:
            raise NotFoundError(
                f"{app} has no variable {key} in {environment}", code="variable-not-found", fix="see `deployd env list`"
            )
    for key in keys:
        cli.client.unset_variable(app, environment, key)
    cli.out.result({"unset": keys}, f"{', '.join(keys)} removed from {app} {environment}")


def _value(cli: Cli, text: str, *, plain: bool) -> str:
    key, given, value = text.partition("=")
    _check_name(key)
    if given and value == "-":
        return cli.out.stdin.read().removesuffix("\n")
    if given:
        if plain:
            return value
        raise UsageError(
            f"the value of {key} stood in the command line, where others can read it",
            code="value-in-argv",
            fix=f"`deployd env set {key}` asks for it, `{key}=-` reads stdin; if it is no secret, pass --plain",
        )
    if not cli.out.can_ask:
        raise UsageError(
            f"nobody can be asked for {key}", code="needs-answer", fix=f"pass {key}=- and the value on stdin"
        )
    return cli.out.ask_hidden(f"{key}: ")


def _served(item: Variable) -> str:
    if item.both or item.managed:
        return "build, server"
    return "build" if item.build else "server"


def _keep(cli: Cli, values: Mapping[str, str], *, build: bool, both: bool) -> None:
    app, environment = cli.where
    cli.app.environment(environment)
    for key, value in values.items():
        _check_name(key)
        if "\0" in value or not _is_text(value):
            raise UsageError(
                f"the value of {key} is not UTF-8 text, or holds a zero byte",
                code="value-invalid",
                fix="encode it, for example in base64",
            )
        if len(value.encode()) > _LARGEST:
            raise UsageError(
                f"the value of {key} has {len(value.encode()):,} bytes, more than one variable can hold",
                code="value-too-long",
                fix=f"keep it below {_LARGEST:,} bytes, or ship it as a file of the app",
            )
    for key, value in values.items():
        only = not both and (build or key.startswith(_PUBLIC))
        cli.client.set_variable(app, environment, key, Secret(value), build=only, both=both)
    names = ", ".join(values) or "nothing"
    cli.out.result({"set": list(values)}, f"{names} set for {app} {environment}; part of the next release")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_name(key: str) -> None:
    if not dotenv.NAME.fullmatch(key):
        raise UsageError(
            f"{key!r} is not a variable's name", code="name-invalid", fix="use A-Z, a-z, 0-9 and _, no digit first"
        )
    if key in _RESERVED or (key.startswith("DEPLOYD_") and key not in _OWN):
        raise UsageError(f"{key} is set by deployd itself", code="name-reserved", fix="choose another name")


def _write_private(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    aside.replace(path)
