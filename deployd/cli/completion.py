"""Shell completion: `deployd completion bash` prints the script; the shell then calls deployd back for each tab."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployd.cli.verbs import verb
from deployd.errors import UsageError

if TYPE_CHECKING:
    from deployd.cli.context import Cli

SHELLS = ("bash", "zsh", "fish")


def item(value: str, text: str) -> Any:
    """One completion with its help, in the type that the shell's protocol prints."""
    core: Any = import_module("typer.core")  # its home in typer has moved between versions
    return core.CompletionItem(value, help=text)


def prepare() -> None:
    """Let typer know the shells; it does so by itself only for its own --install-completion."""
    made: Any = import_module("typer.completion")
    made.completion_init()


@verb(example='eval "$(deployd completion bash)"')
def completion(
    cli: Cli,
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.", autocompletion=lambda: SHELLS)],
) -> None:
    """Print the completion script of a shell.

    \b
    bash: add  eval "$(deployd completion bash)"  to ~/.bashrc
    zsh:  deployd completion zsh > a folder of $fpath, as _deployd
    fish: deployd completion fish > ~/.config/fish/completions/deployd.fish
    """  # noqa: D301 - \b keeps click from wrapping
    if shell not in SHELLS:
        raise UsageError(
            f"there is no completion for {shell!r}", code="shell-unknown", fix=f"choose {', '.join(SHELLS)}"
        )
    made: Any = import_module("typer.completion")
    cli.out.stdout.write(
        made.get_completion_script(prog_name="deployd", complete_var="_DEPLOYD_COMPLETE", shell=shell) + "\n"
    )
