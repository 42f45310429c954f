"""A command that runs several (run-s, run-p, concurrently) -> their words, the likeliest server last."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_IN_A_ROW = {"run-s", "npm-run-all", "npm-run-all2"}
_AT_ONCE = {"run-p", "concurrently", "conc"}
_WITH_VALUE = {
    "-n", "--names", "-c", "--prefix-colors", "-p", "--prefix", "-l", "--prefix-length", "-t", "--timestamp-format",
    "-m", "--max-processes", "--max-parallel", "--restart-tries", "--restart-after", "-s", "--success", "--hide",
    "--default-input-target", "--kill-signal", "--name-separator",
}  # fmt: skip
_CALL = re.compile(r"(npm|pnpm|yarn|bun|node):(.+)")
_RUNS = re.compile(r"(?:^|[\s/])(?:node|tsx|ts-node|nodemon|pm2-runtime|fastify start|next start)\b")
_NAMED = re.compile(r"serv|api|web|start|app\b", re.IGNORECASE)


def inner(words: Sequence[str], scripts: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The commands that one of these runs; empty for any other command."""
    program, rest = words[0].rpartition("/")[2], list(words[1:])
    if program not in _IN_A_ROW | _AT_ONCE:
        return []
    at_once = program in _AT_ONCE or {"-p", "--parallel"}.intersection(rest if program in _IN_A_ROW else ())
    found = list(_commands(program, rest, scripts))
    return sorted(found, key=lambda one: _likely(one, scripts)) if at_once else found


def _commands(program: str, rest: list[str], scripts: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    names = program not in {"concurrently", "conc"}
    skip = False
    for word in rest:
        if word == "--":
            return
        if skip or word.startswith("-"):
            skip = not skip and not names and word in _WITH_VALUE
            continue
        call = _CALL.fullmatch(word)
        if names or call:
            manager, name = (call[1], call[2]) if call else ("npm", word)
            yield from (("npm" if manager == "node" else manager, "run", one) for one in _matching(name, scripts))
            continue
        try:
            plain = shlex.split(word)
        except ValueError:
            continue
        if plain:
            yield tuple(plain)


def _matching(name: str, scripts: Mapping[str, str]) -> list[str]:
    """The scripts that `build:*` means, or the one of that name."""
    plain = name.strip().partition(" ")[0]
    if "*" not in plain:
        return [plain] if plain in scripts else []
    pattern = re.compile(re.escape(plain).replace(r"\*\*", ".*").replace(r"\*", "[^:]*"))
    return [one for one in scripts if pattern.fullmatch(one)]


def _likely(words: Sequence[str], scripts: Mapping[str, str]) -> tuple[bool, bool]:
    """How likely one of several commands is the server; the greatest is."""
    text = " ".join([*words, scripts.get(words[-1], "")])
    return bool(_RUNS.search(text)), bool(_NAMED.search(text))
