"""What the key's owner asks for comes in; it becomes rsync or the root half, or it is refused."""

from __future__ import annotations

import os
import sys

from deployd_host.paths import BASE, EXIT_REFUSED, SELF
from deployd_host.replies import RefusedError, bad_request
from deployd_host.verbs import VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

_LOWER = "abcdefghijklmnopqrstuvwxyz"
_PLAIN = frozenset(_LOWER + _LOWER.upper() + "0123456789-._@:")
_RSYNC_DESTINATION = frozenset(_LOWER + "0123456789-./")
_RSYNC_LETTERS = frozenset("tvz")
_RSYNC_CAPABILITIES = frozenset(_LOWER + _LOWER.upper() + "0123456789.")


def split_command(command: str | None) -> list[str]:
    """The words of SSH_ORIGINAL_COMMAND. Only `exec` may need quotes; every other verb's words are plain."""
    if not command:
        raise RefusedError(
            "refused", "this key gets no shell", fix="log in as the host's admin user", exit_code=EXIT_REFUSED
        )
    if not command.startswith("deployd-host exec "):
        return command.split(" ")
    import shlex

    try:
        return shlex.split(command)
    except ValueError as error:
        raise bad_request(f"the command cannot be split: {error}") from error


def front_half(words: Sequence[str]) -> NoReturn:
    """As the user deployd: become rsync or the root half, or refuse."""
    if words[0] == "rsync":
        from deployd_host.priority import yield_processor

        arguments = rsync_arguments(words)
        yield_processor()
        os.execve("/usr/bin/rsync", ["rsync", *arguments], {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"})
    if words[0] == "deployd-host":
        words = words[1:]
    verb = VERBS.get(words[0]) if words else None
    if verb is None or verb.local:
        raise bad_request("only the helper's verbs and rsync into an incoming folder are allowed")
    plain = words[: words.index("--")] if verb.passes_command and "--" in words else words
    if not all(word and set(word) <= _PLAIN for word in plain):
        raise bad_request("an argument has a character that none of ours has")
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    if os.geteuid() == 0:  # tests, as root and with a root folder of their own
        program = os.path.realpath(sys.argv[0])
        os.execve(sys.executable, [sys.executable, "-IS", program, "--root-half", *words], environment | os.environ)
    os.execve("/usr/bin/sudo", ["sudo", "-n", SELF, "--root-half", *words], environment)


def rsync_arguments(words: Sequence[str]) -> list[str]:
    """The arguments for rsync, if these are what our own rsync sends to put plain files into one incoming folder."""
    rest = list(words[1:])
    refusal = RefusedError(
        "rsync-refused",
        "rsync may only put plain files into one incoming folder, with deployd's own options",
        fix="let deployd call rsync",
        exit_code=EXIT_REFUSED,
    )
    if len(rest) < 5 or rest[0] != "--server" or rest[-2] != "." or not _is_rsync_flags(rest[1]):
        raise refusal
    options = rest[2:-2]
    partial = False
    while options:
        option = options.pop(0)
        if option == "--partial-dir" and options and options[0] == ".deployd-partial":
            options.pop(0)
            partial = True
        elif option == "--partial-dir=.deployd-partial":
            partial = True
        elif option != "--stats" and not (option.startswith("--timeout=") and option[10:].isdigit()):
            raise refusal
    if not partial or not _is_incoming(rest[-1]):
        raise refusal
    return rest


def _is_rsync_flags(word: str) -> bool:
    """`-te.LsfxCIvu`: a few letters, then `e.` and what the client is capable of."""
    letters, separator, capabilities = word[1:].partition("e.")
    return (
        word.startswith("-")
        and bool(separator)
        and "t" in letters
        and set(letters) <= _RSYNC_LETTERS
        and set(capabilities) <= _RSYNC_CAPABILITIES
    )


def _is_incoming(destination: str) -> bool:
    """A real folder two levels below `incoming/`. Its parents are root's, so it stays what it is now."""
    below = destination.removeprefix(BASE + "/incoming/")
    parts = below.split("/")
    if below == destination or len(parts) != 3 or parts[2] or not set(below) <= _RSYNC_DESTINATION:
        return False
    if any(part[:1] in {"", "."} for part in parts[:2]):
        return False
    try:
        return os.path.realpath(destination) == destination.rstrip("/") and os.path.isdir(destination)
    except OSError:
        return False
