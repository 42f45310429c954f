"""Next.js's route manifests -> Rules: which files the web server may serve past the app without changing an answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployd.stages.trace import manifests

if TYPE_CHECKING:
    from pathlib import Path

_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~@-][A-Za-z0-9._~@-]*)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """`serves_assets`: `_next/static` needs nothing of the app. `serves_public`: neither do the files of `public`.

    `prefixes` are what stands before `/_next/static`: the base path, and the asset prefix where it is a path.
    """

    base_path: str
    prefixes: tuple[str, ...]
    serves_assets: bool
    serves_public: bool


def read(dist: Path, *, asset_prefix: str = "") -> Rules:
    """Read `.next`'s manifests: middleware, headers, redirects and early rewrites come before public files."""
    manifest = manifests.read(dist / "routes-manifest.json")
    base_path = str(manifest.get("basePath") or "")
    headers = manifest.get("headers") or []
    rewrites = manifest.get("rewrites") or []
    early = rewrites.get("beforeFiles", []) if isinstance(rewrites, dict) else []
    redirects = [rule for rule in manifest.get("redirects") or [] if not rule.get("internal")]
    prefix = asset_prefix.rstrip("/")
    prefixes = dict.fromkeys([base_path, *([prefix] if _PLAIN_PATH.fullmatch(prefix) else [])])
    samples = [f"{one}/_next/static/chunks/x.js" for one in prefixes]
    return Rules(
        base_path=base_path,
        prefixes=tuple(prefixes),
        serves_assets=not any(_matches(rule, sample) for rule in headers for sample in samples),
        serves_public=not (headers or early or redirects or _has_middleware(dist)),
    )


def _has_middleware(dist: Path) -> bool:
    if manifests.read(dist / "server" / "middleware-manifest.json").get("middleware"):
        return True
    functions = manifests.read(dist / "server" / "functions-config-manifest.json").get("functions") or {}
    return "/_middleware" in functions  # proxy.js of Next.js 16, and middleware that runs on Node.js


def _matches(rule: dict[str, Any], path: str) -> bool:
    pattern = str(rule.get("regex", ".*")).replace("(?<", "(?P<").replace("(?P<!", "(?<!").replace("(?P<=", "(?<=")
    try:
        return re.search(pattern, path) is not None
    except re.error:
        return True  # not understood: the app answers
