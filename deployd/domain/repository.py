"""The address of a git repository: whether a password or token stands in it, how it may be told, and whose it is."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_USER = re.compile(r"([a-z]+://)([^/\s]*)@")
_TOKEN = re.compile(r"(?:gh[a-z]_|github_pat_|gl[a-z]{2,}-|ATBB|ATCTT)\w{8,}")


def holds_secret(url: str) -> bool:
    """Whether the user part of an address has a password (`user:word@`), or is a forge's token itself."""
    found = _USER.match(url)
    return bool(found and (":" in found[2] or _TOKEN.match(found[2])))


def told(url: str) -> str:
    """`https://ada:secret@git.example/shop.git` -> `https://git.example/shop.git`; other addresses as they are."""
    return _USER.sub(r"\1", url, count=1) if holds_secret(url) else url


def is_another(url: str, *, name: str, page: str | None) -> bool:
    """Whether a forge's repository (`acme/api`, and its page) is certainly not the one at `url`.

    Only addresses on the page's own host tell: a mirror or an alias of ssh may have any name.
    """
    host, path = _split(url)
    if page is None or not name or host is None or host != urlsplit(page).hostname:
        return False
    return not f"/{path}".endswith(f"/{name.casefold()}")


def _split(url: str) -> tuple[str | None, str]:
    """Host and path, in small letters and without `.git`; `git@host:path` is one too."""
    found = re.fullmatch(r"(?:[^@/\s]+@)?([^:/\s]+):(?!//)(.+)", url)
    if found:
        host, path = found[1], found[2]
    else:
        parts = urlsplit(url)
        host, path = parts.hostname or "", parts.path
    return host.casefold() or None, path.strip("/").removesuffix(".git").casefold()
