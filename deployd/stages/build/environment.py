"""The clean environment of an install and a build: nothing of the operator's but what registries need."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.stages.build.ground import Ground

# how this machine reaches its package registry; what else the operator told npm (omit, ignore-scripts) stays out
_REGISTRY = re.compile(
    r"""(?:https?|no|all)_proxy | node_extra_ca_certs | ssl_cert_(?:file|dir)
      | npm_config_(?:registry|ca|cafile|cert|key|strict[-_]ssl|proxy|https[-_]proxy|noproxy|userconfig|globalconfig
                      |fetch[-_].+|maxsockets|_auth.*|//.+|@.+:registry)
      | yarn_(?:npm_.+|http_proxy|https_proxy|registry) | bun_config_(?:registry|token)""",
    re.VERBOSE | re.IGNORECASE,
)
REGISTRY_FILES = (".npmrc", ".yarnrc", ".yarnrc.yml", ".bunfig.toml", ".config/pnpm/rc")
_SHORTEST_SECRET = 4
_HARMLESS = {"true", "false", "null", "none", "test", "development", "production", "staging", "debug", "info", "warn"}


def registry_environment() -> dict[str, str]:
    """What a package manager needs of the operator's environment to reach its registry."""
    return {name: value for name, value in os.environ.items() if _REGISTRY.fullmatch(name)}


def make_home(home: Path) -> None:
    """Make a build's home folder; the operator's registry settings are linked into it, never copied.

    It is kept between builds: every package manager has its cache below its home.
    """
    operator = Path(os.environ.get("HOME") or "/root")
    for name in REGISTRY_FILES:
        link, target = home / name, operator / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink() and link.readlink() != target:
            link.unlink()
        if target.is_file() and not link.exists():
            link.symlink_to(target)


def build_environment(ground: Ground, *, manager: str, root: str, variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of an install or a build; `variables` win over everything but PATH, HOME and LANG.

    `root` is the checkout's top folder: Turborepo's cache is told to lie in it, whatever its version.
    """
    store = f"{ground.home}/.local/share/pnpm/store"
    return {
        **ground.registry,
        "CI": "1",
        "NEXT_TELEMETRY_DISABLED": "1",
        "NPM_CONFIG_UPDATE_NOTIFIER": "false",
        "COREPACK_ENABLE_DOWNLOAD_PROMPT": "0",
        "YARN_ENABLE_TELEMETRY": "0",
        "TURBO_TELEMETRY_DISABLED": "1",
        "TURBO_CACHE_DIR": f"{root}/.turbo/cache",
        # pnpm looks for a folder that it can hard-link from, and would take one in the checkout
        **({"npm_config_store_dir": store, "pnpm_config_store_dir": store} if manager == "pnpm" else {}),
        **variables,
        "PATH": ground.path,
        "HOME": ground.home,
        "LANG": "C.UTF-8",
    }


class Redactor:
    """Takes the values of variables out of lines, also as base64 and hex, in a URL, in HTML, and in JSON (in JSON).

    `NEXT_PUBLIC_*` are for everyone to see, and words such as `production` are no secrets.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        forms: set[str] = set()
        for name, value in variables.items():
            if name.startswith("NEXT_PUBLIC_"):
                continue
            for text in {value, *map(str.strip, value.splitlines())}:
                if len(text) >= _SHORTEST_SECRET and text.lower() not in _HARMLESS:
                    forms |= _forms(text)
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, line: str) -> str:
        """The line with `***` in place of every secret."""
        for form in self._forms:
            if form in line:
                line = line.replace(form, "***")
        return line


def _forms(text: str) -> set[str]:
    raw, once = text.encode(), json.dumps(text)[1:-1]
    there = {json.dumps(text, ensure_ascii=False)[1:-1], once, json.dumps(once)[1:-1]}
    return {
        text,
        quote(text, safe=""),
        quote_plus(text),
        html.escape(text),
        html.escape(text, quote=False),
        raw.hex(),
        raw.hex().upper(),
        base64.b32encode(raw).decode().rstrip("="),
        *there,
        *_base64_forms(text),
    }


def _base64_forms(text: str) -> set[str]:
    raw = text.encode()
    forms = {base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("=")}
    for offset in range(3):  # base64 of a longer text that holds this one: its three alignments
        encoded = base64.b64encode(b"\0" * offset + raw).decode().rstrip("=")
        core = encoded[(offset * 8 + 5) // 6 : len(encoded) - (1 if (offset + len(raw)) % 3 else 0)]
        if len(core) >= 2 * _SHORTEST_SECRET:
            forms |= {core, core.replace("+", "-").replace("/", "_")}
    return forms
