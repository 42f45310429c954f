"""The address of a database, as it may be told: without its password."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit


def told(url: str) -> str:
    """`postgresql://ada:secret@db:5432/deployd?x=y` -> `postgresql://ada@db:5432/deployd`."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(not readable)"
    if not parts.scheme or not (parts.path or parts.netloc):
        return "(not readable)"
    host = dict(parse_qsl(parts.query)).get("host", "") if not parts.hostname else parts.hostname
    user = f"{parts.username}@" if parts.username else ""
    where = f"{user}{host}{port}" if not host.startswith("/") else f"{user}({host})"
    return f"{parts.scheme.partition('+')[0]}://{where}{parts.path}"
