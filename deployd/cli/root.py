"""The root command: names and helps from the table of commands.py; a command's module is imported when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from deployd.cli import commands
from deployd.cli.coercion import lighten
from deployd.cli.verbs import CONTEXT, new_typer, no_help_in_json, with_shared

if TYPE_CHECKING:
    from deployd.cli.context import Cli


class Root(TyperGroup):
    """The lazy group behind `deployd`."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, converted without pydantic; --help is one of them."""
        return lighten(super().get_params(ctx))

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        """All names, in the table's order."""
        return list(commands.visible())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - click's signature
        """Load one command."""
        entry = commands.COMMANDS.get(cmd_name)
        return entry.load(cmd_name) if entry else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; the suggestions of "no such command" look at the keys of `commands`."""
        self.commands: Any = dict.fromkeys(commands.visible())
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Names and helps from the table, without loading any command."""
        from deployd.cli.completion import item

        if incomplete.startswith("-"):
            self.commands = {}
            return super().shell_complete(ctx, incomplete)
        return [item(name, text) for name, text in commands.visible().items() if name.startswith(incomplete)]

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - click's signature
        """The same page as the quick path of main.py prints."""
        formatter.write(commands.root_help())


def _root(cli: Cli) -> None:
    """From a git commit to atomic, immutable releases on bare Linux servers."""
    if cli.context.invoked_subcommand is None:
        no_help_in_json(cli, "deployd")
        cli.out.line(commands.root_help())
        raise typer.Exit(2)


def build() -> Any:
    """The root command as click runs it."""
    app = new_typer(
        name="deployd",
        cls=Root,
        invoke_without_command=True,
        context_settings=CONTEXT,
    )
    app.callback()(with_shared(_root, group=True))
    return typer.main.get_command(app)
