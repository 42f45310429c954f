"""The entry point: arguments come in, an exit code goes out; every error is drawn here, in one way."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from deployd.cli import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployd.cli.context import Cli
    from deployd.cli.render import Screen
    from deployd.client import Client
    from deployd.errors import DeploydError
    from deployd.paths import StatePaths

COMPLETE_VARIABLE = "_DEPLOYD_COMPLETE"
INTERRUPTED = 130
TERMINATED = 143
_BROKEN_PIPE = 141


class Terminated(BaseException):
    """SIGTERM came while nothing was running that must be cancelled first."""


def main() -> NoReturn:
    """Run the command line and end the process."""
    _open_streams()
    argv = sys.argv[1:]
    if not os.environ.get(COMPLETE_VARIABLE):
        if argv in ([], ["-h"], ["--help"], ["help"]):
            sys.stdout.write(_help())
            sys.exit(0)
        if argv in (["--version"], ["-V"]):
            argv = ["version"]
        if argv[0] == "help":
            argv = [*argv[1:], "--help"]
    signal.signal(signal.SIGTERM, _terminate)
    leave(run(argv))


def leave(code: int) -> NoReturn:
    """End now: the engine's threads must not keep a finished command waiting, nor finish what was cancelled."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)


def run(
    argv: Sequence[str],
    *,
    make_client: Callable[[StatePaths, str, str | None], Client] | None = None,
    screen: Screen | None = None,
) -> int:
    """Run one command and return its exit code; tests pass a client of their own."""
    from deployd.cli.context import Cli
    from deployd.cli.render import Screen
    from deployd.errors import DeploydError

    out = screen or Screen()
    cli = Cli(out, make_client=make_client or _client)
    try:
        return _run(argv, cli)
    except DeploydError as error:
        _configure_early(out, argv)
        out.error(error)
        return error.exit_code
    except (KeyboardInterrupt, Terminated) as signalled:
        return TERMINATED if isinstance(signalled, Terminated) else INTERRUPTED
    except BrokenPipeError:
        _hush()
        return _BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the last door: people get a sentence, not a traceback
        _configure_early(out, argv)
        out.error(_translated(error, argv, verbose=cli.options.verbose))
        return 2 if _is_usage(error) else 1
    finally:
        cli.close()  # not the engine's: it may still run, and main() leaves without waiting for it


def _run(argv: Sequence[str], cli: Cli) -> int:
    from deployd.cli import root

    if os.environ.get(COMPLETE_VARIABLE):
        from deployd.cli.completion import prepare

        prepare()
    try:
        result = root.build().main(args=list(argv), prog_name="deployd", standalone_mode=False, obj=cli)
    except SystemExit as end:  # typer makes one of a broken pipe, and of what a completion asked
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        return end.code if isinstance(end.code, int) else 0
    cli.out.stdout.flush()
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


def _client(paths: StatePaths, who: str, command: str | None) -> Client:
    from deployd.client import Client

    return Client(paths, who=who, command=command)


def _help() -> str:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return commands.root_help()
    return commands.root_help(heading=lambda text: f"\x1b[1m{text}\x1b[0m", name=lambda text: f"\x1b[36m{text}\x1b[0m")


def _configure_early(out: Screen, argv: Sequence[str]) -> None:
    """An error may come before the options were parsed."""
    own = list(argv)[: list(argv).index("--")] if "--" in argv else argv
    if "--json" in own:
        out.json = True


def _is_usage(error: Exception) -> bool:
    # click's exceptions live in typer's private parts or in click, by version: both have these two
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _translated(error: Any, argv: Sequence[str], *, verbose: bool) -> DeploydError:
    from deployd.errors import DeploydError, UsageError, machine_refused

    if _is_usage(error):
        words = [word for word in argv if not word.startswith("-")][:1]
        page = " ".join(["deployd", *(word for word in words if word in commands.COMMANDS), "--help"])
        context = getattr(error, "ctx", None)
        if context is not None and context.command_path != "deployd":
            page = f"{context.command_path} --help"
        message = error.format_message()
        return UsageError(message[:1].lower() + message[1:].rstrip("."), fix=f"see `{page}`")
    import traceback

    refused = machine_refused(error) if isinstance(error, OSError) else None
    if refused is not None:
        return refused.but(details="".join(traceback.format_exception(error))) if verbose else refused
    shown = traceback.format_exception(error) if verbose else traceback.format_exception(error)[-2:]
    return DeploydError(
        f"deployd itself failed: {type(error).__name__}: {error}",
        code="internal",
        details="".join(shown),
        fix="this is a bug: report it with the output of the same command with -v; `deployd status` says what is live",
    )


def _open_streams() -> None:
    """A stream that the caller closed leads nowhere: else the next file that is opened would take its place.

    What the locale's letters lack is escaped: a sentence that cannot be written must not end a release.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _hush() -> None:
    """Nobody reads stdout any more: keep Python from complaining about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(_number: int, _frame: object) -> None:
    raise Terminated
