"""The address of a git repository: whether a password or token stands in it, and how it may be told."""

from __future__ import annotations

import re

_USER = re.compile(r"([a-z]+://)([^/\s]*)@")
_TOKEN = re.compile(r"(?:gh[a-z]_|github_pat_|gl[a-z]{2,}-|ATBB|ATCTT)\w{8,}")


def holds_secret(url: str) -> bool:
    """Whether the user part of an address has a password (`user:word@`), or is a forge's token itself."""
    found = _USER.match(url)
    return bool(found and (":" in found[2] or _TOKEN.match(found[2])))


def told(url: str) -> str:
    """`https://ada:secret@git.example/shop.git` -> `https://git.example/shop.git`; other addresses as they are."""
    return _USER.sub(r"\1", url, count=1) if holds_secret(url) else url
