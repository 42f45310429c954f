"""A script of package.json -> its plain commands: their words, and the variables and the folder before them."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deployd.stages.build import groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BEFORE = {"cross-env", "cross-env-shell", "env", "exec", "dotenv", "dotenvx", "--", "npx", "time", "run", "dumb-init"}
_VARIABLE = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_SIMPLE = re.compile(r"[\w@%+=:,./$~{}*?-]+")
_REDIRECTED = re.compile(r"(?<=\s)(?:\d|&)?>{1,2}\s*(?:&\d|[^\s&|;]+)")
# Commands that only set variables, ask or greet.
_SAID = {"export", "set", "if-env", "[", "[[", "test", "true", "echo", "clear", "sleep"}
_DEEP = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command. `script` is the script that it stands in, `folder` where a `cd` before it has led.

    `env_files` are files of variables that it reads, `before` the commands that the script runs first.
    """

    script: str
    words: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()
    folder: str = ""
    env_files: tuple[str, ...] = ()
    before: tuple[str, ...] = ()


def commands(name: str, scripts: Mapping[str, str]) -> Iterator[Command]:
    """The commands of a script, the last one first, because that is what runs on; `npm run x` is followed."""
    yield from _plain(Command(script=name, words=()), scripts, deep=_DEEP)


def _plain(outer: Command, scripts: Mapping[str, str], *, deep: int) -> Iterator[Command]:
    found: list[Command] = []
    folder = outer.folder
    exported: dict[str, str] = {}
    for joint, words in _parts(scripts[outer.script]):
        if words[0] in _SAID:
            exported |= {match[1]: match[2].rstrip() for word in words[1:] if (match := _VARIABLE.fullmatch(word))}
            continue
        if words[:1] == ["cd"] and len(words) == 2:  # noqa: PLR2004 - `cd FOLDER`
            folder = os.path.normpath(os.path.join(folder, words[1]))  # noqa: PTH118 - text
            continue
        bare = _bare(words)
        if bare.words:
            here = Command(
                script=outer.script,
                words=bare.words,
                variables=tuple((dict(outer.variables) | exported | dict(bare.variables)).items()),
                folder="" if folder == "." or folder.startswith(("..", "/")) else folder,
                env_files=(*outer.env_files, *bare.env_files),
            )
            inner = groups.inner(bare.words, scripts) or [bare.words]
            before = [*outer.before, *(text_of(one.words) for one in found)]
            several = [
                replace(here, words=each, before=(*before, *(text_of(other) for other in inner[:number])))
                for number, each in enumerate(inner)
            ]
            # what follows `||` runs only where what stands before it failed
            at = len(found) - 1 if joint == "||" and found else len(found)
            found[at:at] = several
    for one in reversed(found):
        named = _script_of(one.words) if not one.folder else None
        if named and named in scripts and deep:
            yield from _plain(replace(one, script=named, words=()), scripts, deep=deep - 1)
        else:
            yield one


def text_of(words: tuple[str, ...]) -> str:
    """Words as they are typed: quoted where they must be, and `$PORT` left to the shell."""
    return " ".join(word if _SIMPLE.fullmatch(word) else shlex.quote(word) for word in words)


def _parts(text: str) -> Iterator[tuple[str, list[str]]]:
    """What stands before each command (`&&`, `||`, `;`, `&` or nothing), and its words; none of what no shell takes.

    What is piped to another program is one command: that which makes the lines.
    """
    try:
        lexer = shlex.shlex(_REDIRECTED.sub("", text), posix=True, punctuation_chars="&|;()")
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:
        return
    command: list[str] = []
    before = ""
    for word in [*words, ";"]:
        if not word or set(word) - set("&|;()"):
            command.append(word)
            continue
        if command and before != "|":
            yield before, command
        command, before = [], word.strip("()") or before
    return


def _bare(words: list[str]) -> Command:
    """A command without what stands before it: variables, cross-env, dotenv and its options."""
    rest, variables, env_files = list(words), dict[str, str](), list[str]()
    while rest:
        first = rest[0]
        variable = _VARIABLE.fullmatch(first)
        if variable:
            variables[variable[1]] = variable[2]
        elif first not in _BEFORE:
            break
        rest.pop(0)
        while first in {"dotenv", "dotenvx"} and rest and rest[0].startswith("-") and rest[0] != "--":
            option = rest.pop(0)
            if option in {"-e", "-f", "-c"} and rest and not rest[0].startswith("-"):
                env_files.append(rest.pop(0))
    return Command(script="", words=tuple(rest), variables=tuple(variables.items()), env_files=tuple(env_files))


def _script_of(words: tuple[str, ...]) -> str | None:
    if words[:2] == ("node", "--run"):
        return next(iter(words[2:]), None)
    if words[0] not in {"npm", "pnpm", "yarn", "bun"}:
        return None
    rest = [word for word in words[1:] if not word.startswith("-")]
    if rest[:1] in (["run"], ["run-script"]):
        rest = rest[1:]
    elif words[0] == "bun":
        return None  # `bun server.js` runs a file
    return rest[0] if rest else None
