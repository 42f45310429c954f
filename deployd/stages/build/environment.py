"""The clean environment of an install and a build: nothing of the operator's but what registries need."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# how this machine reaches its package registry: names only, values pass through
_REGISTRY_PREFIXES = ("npm_config_", "yarn_", "bun_config_")
_REGISTRY_NAMES = {
    "http_proxy", "https_proxy", "no_proxy", "all_proxy", "node_extra_ca_certs", "ssl_cert_file", "ssl_cert_dir",
}  # fmt: skip
_SHORTEST_SECRET = 4


def registry_environment() -> dict[str, str]:
    """What a package manager needs of the operator's environment to reach its registry."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.lower().startswith(_REGISTRY_PREFIXES) or name.lower() in _REGISTRY_NAMES
    }


def build_environment(
    *, node: Path, tools: Path | None, home: Path, cache: Path, variables: Mapping[str, str]
) -> dict[str, str]:
    """The environment of an install or a build; `variables` win over everything but PATH and HOME."""
    path = [str(node.parent), *([str(tools)] if tools else []), os.environ.get("PATH", "/usr/bin:/bin")]
    operator_npmrc = os.path.expanduser("~/.npmrc")  # noqa: PTH111 - a text for npm
    return {
        **registry_environment(),
        **({"NPM_CONFIG_USERCONFIG": operator_npmrc} if os.path.isfile(operator_npmrc) else {}),  # noqa: PTH113
        "CI": "1",
        "NEXT_TELEMETRY_DISABLED": "1",
        "NPM_CONFIG_UPDATE_NOTIFIER": "false",
        "npm_config_cache": str(cache / "npm"),
        "YARN_CACHE_FOLDER": str(cache / "yarn"),
        "YARN_ENABLE_GLOBAL_CACHE": "false",
        "BUN_INSTALL_CACHE_DIR": str(cache / "bun"),
        "npm_config_store_dir": str(cache / "pnpm"),
        "COREPACK_ENABLE_DOWNLOAD_PROMPT": "0",
        **variables,
        "PATH": ":".join(path),
        "HOME": str(home),
        "LANG": "C.UTF-8",
    }


class Redactor:
    """Takes secret values out of lines, also in their base64 forms."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        forms: set[str] = set()
        for value in secrets.values():
            for text in {value, *value.splitlines()}:
                if len(text) >= _SHORTEST_SECRET:
                    forms |= {text, *_base64_forms(text)}
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, line: str) -> str:
        """The line with `***` in place of every secret."""
        for form in self._forms:
            if form in line:
                line = line.replace(form, "***")
        return line


def _base64_forms(text: str) -> set[str]:
    forms: set[str] = set()
    raw = text.encode()
    for offset in range(3):  # base64 of a longer text that holds this one: its three alignments
        encoded = base64.b64encode(b"\0" * offset + raw).decode().rstrip("=")
        core = encoded[(offset * 8 + 5) // 6 : len(encoded) - (1 if (offset + len(raw)) % 3 else 0)]
        if len(core) >= 2 * _SHORTEST_SECRET:
            forms |= {core, core.replace("+", "-").replace("/", "_")}
    return forms
