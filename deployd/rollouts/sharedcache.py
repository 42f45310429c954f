"""The cache that an environment's hosts share: `cache` of deployd.toml comes in, what a server must know goes out.

The address may hold a password, so it is kept and brought like any variable: sealed, frozen with the release, and on
hosts in a file of root's. The server reads it in stages/package/cache.cjs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from deployd.domain.secret import Secret
from deployd.errors import ConfigError

if TYPE_CHECKING:
    from deployd.domain.ids import AppName, EnvironmentName
    from deployd.domain.options import Run
    from deployd.store.variables import Variables

VARIABLE = "NODE_DEPLOYD_CACHE"
_BY_NAME = "env:"


def of(app: AppName, environment: EnvironmentName, run: Run) -> dict[str, Secret]:
    """The variable that tells a server of its cache; none without `cache`. Releases are told apart on the host."""
    if run.cache is None:
        return {}
    name = run.cache.removeprefix(_BY_NAME)
    told = {"url" if name == run.cache else "env": name, "of": f"{app}-{environment}"}
    return {VARIABLE: Secret(json.dumps(told))}


def check(app: AppName, environment: EnvironmentName, run: Run, variables: Variables) -> None:
    """See that the variable which `cache` names is there. Raises ConfigError."""
    if run.cache is None or not run.cache.startswith(_BY_NAME):
        return
    name = run.cache.removeprefix(_BY_NAME)
    if not any(one.key == name and not one.build for one in variables.of(app, environment)):
        raise ConfigError(
            f"`cache` names the variable {name}, and {app} {environment} has none of that name",
            code="cache-variable-missing",
            live="unchanged",
            fix=f"deployd env set {name} -e {environment}   (redis://:PASSWORD@HOST:6379/0)",
        )
