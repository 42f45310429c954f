"""package.json -> what its start script runs before the server: what of it builds, what is `rollout.before`'s."""

from __future__ import annotations

import re
from typing import Any

from deployd.stages.build import manifest, startscript
from deployd.stages.build.scriptwords import commands

# What brings a database up to date; other commands of start scripts build, tidy or greet.
_MIGRATES = re.compile(
    r"\b(?:migrat\w*|prisma\s+db\s+push|drizzle-kit\s+push|sequelize\s+db:|typeorm\s+schema:|db:(?:deploy|push|setup|seed)"
    r"|seed)\b|\bmigrat",
    re.IGNORECASE,
)
# Programs that make what a server runs.
_BUILDERS = {
    "tsc", "tsup", "tsdown", "esbuild", "webpack", "rollup", "rolldown", "rspack", "swc", "babel", "vite", "nest",
    "ncc", "parcel", "tsc-alias", "gulp", "grunt", "pkgroll", "unbuild", "ng", "lerna", "turbo",
    "nx",
}  # fmt: skip
_BUILD_NAME = re.compile(r"(?:^|[:_-])(?:build|compile|bundle|tsc)(?:$|[:_-])")
_DEEP = 4
_CALLS = re.compile(r"(?:npm|pnpm|yarn|bun)\s+(?:run(?:-script)?\s+)?([\w:.-]+)")


def of_start(package: dict[str, Any]) -> tuple[str, ...]:
    """The commands that `npm start` runs before the server's own: its `pre` script's and those before `&&`."""
    scripts = manifest.scripts(package)
    name = next((one for one in startscript.STARTS if one in scripts), None)
    if name is None:
        return ()
    last = next(commands(name, scripts), None)
    own = (f"npm run pre{name}",) if f"pre{name}" in scripts else ()
    return (*own, *(last.before if last else ()))


def builds(package: dict[str, Any]) -> tuple[str, ...]:
    """Those that make what the server runs: `tsc`, or a script that is named for it or calls such a program."""
    scripts = manifest.scripts(package)
    found = (one for one in of_start(package) if one not in (to_run(package) or ""))
    return tuple(one for one in found if _makes(one, scripts, deep=_DEEP))


def to_run(package: dict[str, Any]) -> str | None:
    """Those that bring a database up to date, as one command line; None when there is none."""
    scripts = manifest.scripts(package)
    found = [one for one in of_start(package) if _MIGRATES.search(_meant(one, scripts))]
    return " && ".join(found) or None


def untold(package: dict[str, Any], *, before: str) -> list[str]:
    """Those that are run neither on the hosts, where `before` says so, nor by the build."""
    scripts = manifest.scripts(package)
    built = () if "build" in scripts else builds(package)
    calls_build = {one for one in builds(package) if _called(one) == "build"}
    return [one for one in of_start(package) if one not in before and one not in {*built, *calls_build}]


def warning(package: dict[str, Any], *, before: str) -> str | None:
    """What a person must know of commands that nothing runs; `before` is what rollout.before says."""
    told = untold(package, before=before)
    if not told or (before and not any(_MIGRATES.search(one) for one in told)):
        return None
    return (
        f"the start script runs `{' && '.join(told)}` too: deployd starts the server alone; "
        "`before` under [rollout] in deployd.toml runs a command once for each release, the build script what builds"
    )


def _makes(command: str, scripts: dict[str, str], *, deep: int) -> bool:
    called = _called(command)
    if called in scripts:
        inner = re.split(r"&&|\|\||;", scripts[called])
        return bool(_BUILD_NAME.search(called)) or (
            deep > 0 and any(_makes(one.strip(), scripts, deep=deep - 1) for one in inner)
        )
    words = command.removeprefix("npx ").split()
    return bool(words) and words[0] in _BUILDERS and not {"-w", "--watch"}.intersection(words)


def _called(command: str) -> str:
    """The script that `npm run SCRIPT` calls; empty when it is another command."""
    called = _CALLS.match(command)
    return called[1] if called else ""


def _meant(command: str, scripts: dict[str, str]) -> str:
    return f"{command} {scripts.get(_called(command), '')}"
