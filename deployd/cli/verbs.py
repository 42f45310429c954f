"""How a command is declared: a function whose first argument is a `Cli`; out goes a typer command with the options that
work everywhere, before and after the verb.

    @verb(example="deployd status --json")
    def status(cli: Cli) -> None: ...

    hosts = Noun("host", "Servers that deployd knows")
    @hosts.verb("list", example="deployd host list")
    def list_(cli: Cli) -> None: ...
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from deployd.cli import names
from deployd.cli.coercion import lighten
from deployd.cli.context import Cli, Everywhere
from deployd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

PANEL = "Everywhere"
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_PREFIX = "everywhere_"  # so that a command may have an argument of the same name

_SHARED: tuple[tuple[str, Any, Any], ...] = (
    (
        "everywhere_app_dir",
        Annotated[
            Path | None,
            typer.Option(
                "-C", "--app-dir", metavar="DIR", help="The app's folder. [default: the nearest deployd.toml, upwards]"
            ),
        ],
        None,
    ),
    (
        "everywhere_environment",
        Annotated[
            str | None,
            typer.Option(
                "-e",
                "--environment",
                metavar="NAME",
                help="The environment. [default: production]",
                autocompletion=names.environments,
            ),
        ],
        None,
    ),
    (
        "everywhere_hosts",
        Annotated[
            list[str] | None,
            typer.Option(
                "--host", metavar="NAME", help="Only this host; repeatable; web* works.", autocompletion=names.hosts
            ),
        ],
        None,
    ),
    ("everywhere_yes", Annotated[bool, typer.Option("-y", "--yes", help="Answer every question with yes.")], False),
    ("everywhere_quiet", Annotated[bool, typer.Option("-q", "--quiet", help="Say only what matters.")], False),
    (
        "everywhere_verbose",
        Annotated[bool, typer.Option("-v", "--verbose", help="Say more: the build's output, each host's steps.")],
        False,
    ),
    ("everywhere_json", Annotated[bool, typer.Option("--json", help="JSON on stdout, and nothing else there.")], False),
    (
        "everywhere_state_dir",
        Annotated[Path | None, typer.Option("--state-dir", metavar="DIR", help="Where deployd keeps what it knows.")],
        None,
    ),
)
SHARED_NAMES = frozenset(name for name, _, _ in _SHARED)


class Command(TyperCommand):
    """A command whose help lists its own options first, then those that work everywhere."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, converted without pydantic; --help is one of them."""
        return lighten(super().get_params(ctx))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, own options and shared options as three sections."""
        _write_options(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The example, as it is typed."""
        del ctx
        formatter.write(f"\nExample:\n  $ {self.epilog}\n")

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`NAME [OPTIONS]` with the arguments as they were declared, without types and braces."""
        del ctx
        return [_label(param) for param in self.params if param.param_type_name == "argument"] + ["[OPTIONS]"]


class Group(TyperGroup):
    """A noun: its verbs in the help, then the options that work everywhere."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, converted without pydantic; --help is one of them."""
        return lighten(super().get_params(ctx))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the verbs first: they are what a reader of a noun's help looks for."""
        self.format_commands(ctx, formatter)
        _write_options(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The example of the first verb."""
        del ctx
        formatter.write(f"\nExample:\n  $ {next(iter(self.commands.values())).epilog}\n")


def _label(param: Any) -> str:
    return str(param.metavar or param.name.upper())


def _write_options(command: Any, ctx: Any, formatter: Any) -> None:
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], PANEL: []}
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is None:
            continue
        if param.param_type_name == "argument":
            sections["Arguments"].append((_label(param), param.help or ""))
        else:
            sections[PANEL if param.name in SHARED_NAMES | {"help"} else "Options"].append(record)
    for name, records in sections.items():
        if records:
            with formatter.section(name):
                formatter.write_dl(records)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One command as typer takes it; `build` makes the click command under a name."""

    callback: Callable[..., Any]
    example: str
    hidden: bool = False
    passthrough: bool = False

    def register(self, app: typer.Typer, name: str) -> None:
        """Add this command to `app`."""
        app.command(
            name,
            cls=Command,
            epilog=self.example,
            hidden=self.hidden,
            options_metavar="[OPTIONS]",
            context_settings=CONTEXT | ({"allow_interspersed_args": False} if self.passthrough else {}),
        )(self.callback)

    def build(self, name: str) -> Any:
        """The click command."""
        app = new_typer()
        self.register(app, name)
        return typer.main.get_command(app)


def new_typer(**settings: Any) -> typer.Typer:
    """A typer app without what loads rich: plain help, no traceback hook, completion elsewhere."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **settings)


def verb(*, example: str, hidden: bool = False, passthrough: bool = False) -> Callable[[Callable[..., Any]], Declared]:
    """Declare a command; `example` is shown in its help. `passthrough` ends options at the first argument."""

    def declare(function: Callable[..., Any]) -> Declared:
        return Declared(callback=with_shared(function), example=example, hidden=hidden, passthrough=passthrough)

    return declare


class Noun:
    """A group of verbs around one thing: `deployd host add`."""

    def __init__(self, name: str, summary: str) -> None:
        self.name = name
        self._app = new_typer(
            name=name,
            help=summary,
            cls=Group,
            no_args_is_help=False,
            invoke_without_command=True,
            context_settings=CONTEXT,
        )
        self._app.callback()(with_shared(_help_without_verb, group=True))

    def verb(
        self, name: str, *, example: str, hidden: bool = False, passthrough: bool = False
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare `deployd <noun> <name>`."""

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            verb(example=example, hidden=hidden, passthrough=passthrough)(function).register(self._app, name)
            return function

        return declare

    def build(self, name: str) -> Any:
        """The click group."""
        group = typer.main.get_command(self._app)
        group.name = name
        return group


def _help_without_verb(cli: Cli) -> None:
    if cli.context.invoked_subcommand is None:
        no_help_in_json(cli, cli.context.command_path)
        cli.out.line(cli.context.get_help())
        raise typer.Exit(2)


def no_help_in_json(cli: Cli, path: str) -> None:
    """Only JSON goes to stdout with --json: there, a missing verb is an error like any other."""
    if cli.options.json:
        raise UsageError(f"`{path}` needs a command", code="usage", fix=f"see `{path} --help`")


def shared_parameters() -> list[inspect.Parameter]:
    """The options that work everywhere, as parameters of a function."""
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        for name, annotation, default in _SHARED
    ]


def with_shared(function: Callable[..., Any], *, group: bool = False) -> Callable[..., Any]:
    """Wrap `function(cli, ...)` into `wrapper(ctx, ..., shared options)` with the signature that typer reads."""
    hints = get_type_hints(function, localns={"Cli": Cli, "Path": Path}, include_extras=True)
    own = [
        parameter.replace(
            annotation=hints.get(parameter.name, parameter.annotation), kind=inspect.Parameter.KEYWORD_ONLY
        )
        for parameter in list(inspect.signature(function).parameters.values())[1:]
    ]

    @wraps(function)
    def wrapper(ctx: typer.Context, **arguments: Any) -> Any:
        here = Everywhere.of({name.removeprefix(_PREFIX): arguments.pop(name) for name in SHARED_NAMES})
        cli: Cli = ctx.obj
        cli.options = cli.options.then(here)
        cli.context = ctx
        if not group:
            cli.ready()
        return function(cli, **arguments)

    first = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [first, *own, *shared_parameters()]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del wrapper.__wrapped__  # inspect would follow it past the signature
    return wrapper
