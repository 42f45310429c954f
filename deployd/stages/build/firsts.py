"""package.json -> what its start script runs before the server, and which of it `rollout.before` is to run."""

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


def to_run(package: dict[str, Any]) -> str | None:
    """Those that bring a database up to date, as one command line; None when there is none."""
    scripts = manifest.scripts(package)
    found = [one for one in of_start(package) if _MIGRATES.search(_meant(one, scripts))]
    return " && ".join(found) or None


def warning(package: dict[str, Any], *, before: str) -> str | None:
    """What a person must know of commands that nothing runs; `before` is what rollout.before says."""
    told = [one for one in of_start(package) if one not in before]
    if not told or (before and not any(_MIGRATES.search(one) for one in told)):
        return None
    return (
        f"the start script runs `{' && '.join(told)}` before the server: deployd starts the server alone; "
        "`before` under [rollout] in deployd.toml runs a command once for each release, the build script what builds"
    )


def _meant(command: str, scripts: dict[str, str]) -> str:
    called = _CALLS.fullmatch(command)
    return f"{command} {scripts.get(called[1], '')}" if called else command
