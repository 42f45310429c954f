r"""Dotenv files, read strictly: text comes in, names and values go out; nothing is expanded, nothing is guessed.

One `NAME=value` a line, with or without `export`. A bare value ends at ` #`; 'single' quotes take everything as it is;
"double" quotes know \n, \r, \t, \", \$ and \\. Quoted values may go over several lines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEAD = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_REST = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_BARE = re.compile(r"([^\n]*?)[ \t]*(?:(?<=[ \t=])#[^\n]*)?(?:\n|\Z)")
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?\n|[ \t]+\Z|[ \t]*#[^\n]*\Z")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$", "\n": ""}


def parse(text: str) -> dict[str, str]:
    """Names and values in the file's order; raises ValueError that names the line."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        blank = _BLANK.match(text, at)
        if blank:
            at = blank.end()
            continue
        line = text.count("\n", 0, at) + 1
        head = _HEAD.match(text, at)
        if not head:
            msg = f"line {line} is not NAME=value"
            raise ValueError(msg)
        name = head[1]
        value, at = _value(text, head.end(), line)
        if name in found:
            msg = f"line {line} sets {name} again"
            raise ValueError(msg)
        if "\0" in value:
            msg = f"line {line}: a value cannot hold a zero byte"
            raise ValueError(msg)
        found[name] = value
    return found


def _value(text: str, at: int, line: int) -> tuple[str, int]:
    quote = text[at : at + 1]
    if quote not in ("'", '"'):
        bare = _BARE.match(text, at)
        assert bare  # noqa: S101 - the pattern matches everything up to a line's end
        return bare[1], bare.end()
    body = (_SINGLE if quote == "'" else _DOUBLE).match(text, at)
    if not body:
        msg = f"line {line} opens a {quote} that is never closed"
        raise ValueError(msg)
    rest = _REST.match(text, body.end())
    if not rest:
        msg = f"line {line} has something after the closing {quote}"
        raise ValueError(msg)
    return (body[1] if quote == "'" else _unescape(body[1], line)), rest.end()


def _unescape(text: str, line: int) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            msg = f"line {line} has \\{match[1]} in double quotes: write \\\\ for a backslash, or use single quotes"
            raise ValueError(msg)
        return _ESCAPES[match[1]]

    return _ESCAPE.sub(one, text)


def write(values: Mapping[str, str]) -> str:
    """A file that `parse` reads back."""
    table = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "$": "\\$"})
    return "".join(f'{name}="{value.translate(table)}"\n' for name, value in values.items())
