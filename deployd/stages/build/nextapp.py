"""app folder -> what is to be known of a Next.js app before its build: the installed version, a likely probe path."""

from __future__ import annotations

import re
from pathlib import Path

from deployd.errors import BuildError
from deployd.stages.build.left import read_json

OLDEST = (13, 5)
NEWEST = 16  # the major; what a later one writes is not known
TRIED = "13.5, 14.2, 15.5 and 16"
_PLACES = ("health", "healthz", "api/health", "api/healthz", "up")


def installed(app_dir: Path, root: Path) -> tuple[int, ...] | None:
    """The version of the Next.js that was installed for an app, or None."""
    for folder in (app_dir, *app_dir.parents):
        path = folder / "node_modules" / "next" / "package.json"
        if path.is_file():
            text = str(read_json(path).get("version", "0"))
            return tuple(int(part) for part in text.split("-", maxsplit=1)[0].split(".")[:3] if part.isdigit())
        if folder == root:
            return None
    return None


def check(version: tuple[int, ...] | None, *, said: bool = False) -> None:
    """Raise BuildError for a Next.js that cannot be built standalone from outside, or that deployd does not know.

    `said` is whether deployd.toml names the framework: a newer major is tried then.
    """
    if version is None or (version[:2] >= OLDEST and (version[0] <= NEWEST or said)):
        return
    shown = ".".join(map(str, version))
    if version[:2] < OLDEST:
        raise BuildError(
            f"Next.js {shown} is older than deployd supports",
            code="next-unsupported",
            fix=f"use Next.js 13.5 or later: {TRIED} were tried",
        )
    raise BuildError(
        f"Next.js {shown} is newer than this deployd supports ({TRIED} were tried)",
        code="next-unsupported",
        fix=f"use Next.js {NEWEST}, or a newer deployd; to try it all the same: "
        'framework = "nextjs" below [build] in deployd.toml',
    )


def check_wish(wish: str, *, said: bool = False) -> None:
    """The same for a range in package.json that allows nothing else: said before anything is installed."""
    major = re.fullmatch(r"\s*[~^=v]*\s*(\d+)(?:\.(\d+|x|\*))?(?:\.[\w.*-]+)?\s*", wish)
    if not major:
        return  # `latest`, `>=12`, `catalog:`: what is installed is looked at
    first, second = int(major[1]), major[2] or ""
    fixed = second.isdigit() and not wish.strip().startswith("^")  # `^13.1` allows 13.5, `13.1` and `~13.1` do not
    old = first < OLDEST[0] or (first == OLDEST[0] and fixed and int(second) < OLDEST[1])
    if old or first > NEWEST:
        check((first, int(second) if second.isdigit() else 0), said=said)


def health(app_dir: Path) -> str | None:
    """The page that looks like it is there for health checks, in either router."""
    for base in (app_dir / "app", app_dir / "src" / "app", app_dir / "pages", app_dir / "src" / "pages"):
        for place in _PLACES:
            if any((base / place).glob("route.*")) or any((base / place).parent.glob(f"{Path(place).name}.[jt]s*")):
                return f"/{place}"
    return None
