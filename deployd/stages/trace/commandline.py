"""A command line of a person's -> the same without npm, npx and their like, which no host has; and its words."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BETWEEN = re.compile(r"(\s*(?:&&|\|\||;)\s*)")
_VARIABLES = re.compile(r"((?:[A-Za-z_]\w*=\S*\s+)*)(.*)", re.DOTALL)
_RUNS = re.compile(r"(?:(npm|pnpm|yarn)\s+(?:run|run-script)|(bun)\s+run)((?:\s+-\S+)*)\s+(\S+)(.*)", re.DOTALL)
_NPX = re.compile(r"(?:npx|bunx|(?:npm|pnpm|yarn|bun)\s+(?:exec|dlx|x))((?:\s+-\S+)*)\s+(.*)", re.DOTALL)
_SHORT = re.compile(r"(?:pnpm|yarn)((?:\s+-\S+)*)\s+([^\s-]\S*)(.*)", re.DOTALL)
_DEEP = 4


def plain(text: str, scripts: Mapping[str, str], *, deep: int = _DEEP) -> str:
    """`npx prisma migrate deploy` -> `prisma migrate deploy`; `npm run x` -> the script's own text, in brackets."""
    return "".join(
        part if number % 2 else _one(part, scripts, deep=deep) for number, part in enumerate(_BETWEEN.split(text))
    )


def words(text: str) -> Iterator[str]:
    """Every word of a command line, without its quotes; nothing of a text that no shell would take."""
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars="&|;()<>")
        lexer.whitespace_split = True
        found = list(lexer)
    except ValueError:
        return
    yield from (word for word in found if not set(word) <= set("&|;()<>"))


def _one(text: str, scripts: Mapping[str, str], *, deep: int) -> str:
    matched = _VARIABLES.fullmatch(text)
    variables, command = (matched[1], matched[2]) if matched else ("", text)
    run = _RUNS.fullmatch(command)
    short = _SHORT.fullmatch(command) if not run else None
    name, rest = (run[4], run[5]) if run else (short[2], short[3]) if short else ("", "")
    if name in scripts and deep:
        more = re.sub(r"^\s*--(?=\s|$)", "", rest).rstrip()
        own = plain(scripts[name], scripts, deep=deep - 1)
        export = f"export {variables.strip()}; " if variables else ""
        return f"( {export}{own}{more} )"
    called = _NPX.fullmatch(command)
    if called:
        return f"{variables}{called[2]}"
    return f"{variables}{name}{rest}" if short else text
