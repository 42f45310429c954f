"""A laid out artifact -> what to ask it: every page and route handler that is known, each with its route.

A Next.js build says which there are: prerender-manifest.json, app-path-routes-manifest.json, pages-manifest.json. Of
other servers only `/`, the probe's path and the paths in deployd.toml are known.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from deployd.domain.artifact import Manifest

OF_ONE_ROUTE = 10
"""How many prerendered pages of one dynamic route are asked: all of them run the same code."""
STAND_IN = "deployd-verify"
"""What stands for a parameter whose values are not known."""
_PARAMETER = re.compile(r"\[\[?(?:\.\.\.)?[^\]/]+\]\]?")
_NO_PAGE = {"/_app", "/_document", "/_error", "/_not-found", "/_global-error", "/404", "/500"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One path to ask. `route` is as the app names it; `guessed` when a parameter's value was made up."""

    path: str
    route: str
    guessed: bool = False
    accept: str = "text/html,*/*"


def questions(manifest: Manifest, tree: Path, *, more: Iterable[str] = ()) -> tuple[Question, ...]:
    """What to ask, each path once, those that deployd.toml names first."""
    found: dict[str, Question] = {}
    for path in ["/", *more]:
        found.setdefault(path, Question(path=path, route=path))
    dist = dist_of(manifest)
    if dist is not None:
        for question in _of_next(tree / dist):
            known = found.get(question.path)
            if known is None or known.route == known.path:
                found[question.path] = question
    return tuple(found.values())


def dist_of(manifest: Manifest) -> str | None:
    """The folder of a Next.js build in the artifact (`apps/web/.next`), or None for another server."""
    names = [
        entry.path.removesuffix("/prerender-manifest.json")
        for entry in manifest.files
        if entry.path.endswith("/prerender-manifest.json") and "node_modules" not in entry.path.split("/")
    ]
    return min(names, key=len, default=None)


def _of_next(dist: Path) -> Iterator[Question]:
    base = str(_read(dist / "routes-manifest.json").get("basePath") or "")
    for path, route in (*_prerendered(dist), *_dynamic(dist)):
        if route in _NO_PAGE:
            continue
        guessed = _PARAMETER.search(path) is not None
        filled = _PARAMETER.sub(STAND_IN, path)
        if "(.)" in filled or "(..)" in filled or "(...)" in filled:
            continue  # an intercepting route answers no address of its own
        where = f"{base}{'' if filled == '/' and base else filled}" or "/"
        yield Question(path=quote(where, safe="/%:@!$&'()*+,;=~"), route=route, guessed=guessed)


def _prerendered(dist: Path) -> Iterator[tuple[str, str]]:
    seen: dict[str, int] = {}
    for path, facts in (_read(dist / "prerender-manifest.json").get("routes") or {}).items():
        route = facts.get("srcRoute") or path if isinstance(facts, dict) else path
        seen[route] = seen.get(route, 0) + 1
        if seen[route] <= OF_ONE_ROUTE:
            yield path, route


def _dynamic(dist: Path) -> Iterator[tuple[str, str]]:
    """Every page and route handler; one with parameters is asked with a made up value, which loads its code."""
    routes = {str(route) for route in _read(dist / "app-path-routes-manifest.json").values()}
    routes |= set(_read(dist / "server" / "pages-manifest.json"))
    for route in sorted(routes):
        yield route, route


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text()) if path.is_file() else {}
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
