"""Durations and sizes as people write them: `"20m"` comes in and seconds go out, `"4G"` and bytes; and back."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"": 1, "B": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)


def parse_duration(text: str) -> float:
    """`500ms`, `30s`, `1h30m` or `2d` as seconds; raises ValueError that shows how to write one."""
    if not _DURATION.fullmatch(text):
        msg = f'{text!r} is not a duration: write "500ms", "30s", "20m", "1h30m" or "7d"'
        raise ValueError(msg)
    return round(sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text)), 6)


def parse_size(text: str) -> int:
    """`512M`, `4G` or `1048576` as bytes, with K = 1024; raises ValueError that shows how to write one."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        msg = f'{text!r} is not a size: write "512M" or "4G"'
        raise ValueError(msg)
    return int(float(match[1]) * _BYTES[match[2].upper()])


def format_duration(seconds: float) -> str:
    """Seconds for people: `9 ms`, `14.2 s`, `3 m 05 s`, `2 h 10 m`, `4 d 3 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 or not seconds else f"{seconds * 1000:.1g} ms"  # noqa: PLR2004
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s" if seconds < 59.95 else "1 m 00 s"  # noqa: PLR2004 - what rounds up to a minute
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} m"
    return f"{minutes} m {whole % 60:02d} s"


def format_size(size: float) -> str:
    """Bytes for people: `812 B`, `3.4 MB`; K = 1024."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1024:  # noqa: PLR2004 - the unit's step
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"  # noqa: PLR2004 - three digits
        size /= 1024
    return f"{size:.1f} TB"


def write_duration(seconds: float) -> str:
    """Seconds as `parse_duration` reads them: `20m`, `1.5s`, `250ms`."""
    if seconds == 0:
        return "0s"
    for unit in ("w", "d", "h", "m", "s"):
        if seconds >= _SECONDS[unit] and (seconds / _SECONDS[unit]).is_integer():
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    number, unit = (seconds, "s") if seconds >= 1 else (seconds * 1000, "ms")
    return f"{number:.6f}".rstrip("0").rstrip(".") + unit


def write_size(size: int) -> str:
    """Bytes as `parse_size` reads them: `4G`."""
    for unit in ("T", "G", "M", "K"):
        if size >= _BYTES[unit] and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return str(size)
