"""The settings of this machine's deployd: the daemon's configuration file and `DEPLOYD_*` variables come in.

Each setting is declared once, in `Settings`; etc/deployd.toml and docs/reference/settings.md are made from it.
pydantic takes 0.2 s to import, so `in_force` loads it only when there is a file or a variable to read.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd.domain.secret import Secret
from deployd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "DEPLOYD_"
DEFAULT_FILE = Path("/etc/deployd/deployd.toml")
# These are looked at where they are used, before any setting: they choose what is read.
# These are texts as they stand: whoever talks to a daemon sets them, and need not wait for pydantic.
_PLAIN = frozenset({"DEPLOYD_URL", "DEPLOYD_TOKEN", "DEPLOYD_DATABASE_URL"})
_EARLY = frozenset({"DEPLOYD_STATE_DIR", "DEPLOYD_CONFIG"})


DEFAULT_CACHE_SIZE = 20 * 1024**3


@dataclass(frozen=True, slots=True)
class Builds:
    """How builds run on this machine: `contained` in a sandbox; caches of all apps take at most `cache_size` bytes."""

    contained: bool = True
    cache_size: int = DEFAULT_CACHE_SIZE


def builds() -> Builds:
    """The settings of builds in force; raises ConfigError."""
    found = in_force()
    size = found.get("cache_size")
    return Builds(
        contained=found.get("build_sandbox") != "off", cache_size=DEFAULT_CACHE_SIZE if size is None else int(size)
    )


def database_url(found: Mapping[str, Any] | None = None) -> str | None:
    """The address of the PostgreSQL database, from these settings or those in force; None: SQLite. It is a secret."""
    given = (in_force() if found is None else found).get("database_url")
    reveal = getattr(given, "get_secret_value", None)
    text = reveal() if reveal else given
    return str(text) if text else None


@dataclass(frozen=True, slots=True)
class ArtifactStore:
    """Where daemons share artifacts: `s3://bucket/prefix`, and how it is reached."""

    url: str
    endpoint: str | None = None
    region: str | None = None


def artifact_store() -> ArtifactStore | None:
    """The artifact store in force, or None; raises ConfigError."""
    found = in_force()
    url = found.get("artifact_store")
    if not url:
        return None
    return ArtifactStore(
        url=str(url), endpoint=found.get("artifact_store_endpoint"), region=found.get("artifact_store_region")
    )


def asset_keys() -> tuple[Secret | None, Secret | None]:
    """The keys to the buckets of apps' `assets` in force: the access key's id and its secret; raises ConfigError."""
    found = in_force()
    return _secret(found.get("assets_access_key_id")), _secret(found.get("assets_secret_access_key"))


def _secret(given: object) -> Secret | None:
    reveal = getattr(given, "get_secret_value", None)
    text = reveal() if reveal else given
    return Secret(str(text)) if text else None


def config_file() -> Path | None:
    """The configuration file: `DEPLOYD_CONFIG`, or /etc/deployd/deployd.toml where there is one."""
    named = os.environ.get("DEPLOYD_CONFIG")
    if named:
        return Path(named)
    try:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    except PermissionError:
        return None  # the daemon's own, and this person is not of its group


def in_force() -> Mapping[str, Any]:
    """The settings by name, those left at their default too; empty when nothing is set anywhere."""
    variables = {name for name in os.environ if name.startswith(PREFIX)} - _EARLY
    if config_file() is None and variables <= _PLAIN:
        return {name.removeprefix(PREFIX).lower(): os.environ[name] for name in variables if os.environ[name]}
    return load()


def load() -> Mapping[str, Any]:
    """Read file and variables (which win); raises ConfigError."""
    from pydantic import ValidationError

    from deployd.settingsmodel import Settings

    path = config_file()
    values = _read(path) if path else {}
    _refuse_unknown(values, Settings.model_fields, path)
    try:
        return Settings(**values).model_dump(exclude_none=True)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        origin = f"{PREFIX}{name.upper()}" if f"{PREFIX}{name.upper()}" in os.environ else f"`{name}` in {path}"
        field = Settings.model_fields[name]
        raise ConfigError(
            f"{origin} is wrong: {first['msg'].removeprefix('Value error, ')}",
            code="setting-invalid",
            fix=f"for example: {name} = {(field.examples or ['...'])[0]}",
        ) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}",
            code="setting-invalid",
            fix="correct the file, or name another in DEPLOYD_CONFIG",
        ) from error


def _refuse_unknown(values: Mapping[str, Any], known: Mapping[str, Any], path: Path | None) -> None:
    for key in values:
        if key in known or key.startswith("x-"):
            continue
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        raise ConfigError(
            f"unknown key `{key}` in {path}",
            code="config-unknown-key",
            fix=f"did you mean `{near[0]}`?" if near else f"known there: {', '.join(known)}",
        )
