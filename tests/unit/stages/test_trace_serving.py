"""What the web server may serve of a standalone build past the app, and under which URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from deployd.stages.trace import routes
from tests.support.standalone import Built

if TYPE_CHECKING:
    from pathlib import Path

HEADERS = {"source": "/robots.txt", "regex": r"^/robots\.txt(?:/)?$", "headers": []}
EVERYWHERE = {"source": "/:path*", "regex": r"^(?:/((?:[^/]+?)(?:/(?:[^/]+?))*))?(?:/)?$", "headers": []}
INTERNAL = {"source": "/:path+/", "regex": "^/x/$", "internal": True}


@pytest.mark.parametrize(
    ("changes", "assets", "public"),
    [
        ({}, True, True),
        ({"redirects": [INTERNAL]}, True, True),
        ({"redirects": [{"source": "/old", "regex": "^/old$"}]}, True, False),
        ({"headers": [HEADERS]}, True, False),
        ({"headers": [EVERYWHERE]}, False, False),
        ({"headers": [{"regex": r"^/(?<name>_next)/static"}]}, False, False),
        ({"headers": [{"regex": r"(?<!x)^/nothing"}]}, True, False),
        ({"headers": [{"regex": r"^/\p{L}+$"}]}, False, False),  # Python cannot read it: the app answers
        ({"rewrites": {"beforeFiles": [{"source": "/a"}], "afterFiles": [], "fallback": []}}, True, False),
        ({"rewrites": {"beforeFiles": [], "afterFiles": [{"source": "/a"}], "fallback": []}}, True, True),
        ({"rewrites": [{"source": "/a"}]}, True, True),
    ],
)  # fmt: skip
def test_headers_redirects_and_early_rewrites_belong_to_the_app(
    tmp_path: Path,
    changes: dict[str, Any],
    assets: bool,  # noqa: FBT001
    public: bool,  # noqa: FBT001
) -> None:
    built = Built(tmp_path)
    built.routes(**changes)
    rules = routes.read(built.dist)
    assert (rules.serves_assets, rules.serves_public) == (assets, public)


def test_middleware_of_every_kind_belongs_to_the_app(tmp_path: Path) -> None:
    built = Built(tmp_path)
    built.json(built.dist / "server/functions-config-manifest.json", {"functions": {"/": {}, "/isr": {}}})
    assert routes.read(built.dist).serves_public
    built.json(built.dist / "server/functions-config-manifest.json", {"functions": {"/_middleware": {}}})
    assert not routes.read(built.dist).serves_public
    built.json(built.dist / "server/functions-config-manifest.json", {"functions": {}})
    built.json(built.dist / "server/middleware-manifest.json", {"middleware": {"/": {}}})
    assert not routes.read(built.dist).serves_public


@pytest.mark.parametrize(
    ("prefix", "served"),
    [
        ("/cdn", ["/docs/_next/static", "/cdn/_next/static"]), ("/cdn/", ["/docs/_next/static", "/cdn/_next/static"]),
        ("https://cdn.test/x", ["/docs/_next/static"]), ("", ["/docs/_next/static"]), ("/a b", ["/docs/_next/static"]),
    ],
)  # fmt: skip
def test_an_asset_prefix_that_is_a_path_is_served_too(tmp_path: Path, prefix: str, served: list[str]) -> None:
    built = Built(tmp_path)
    built.routes(basePath="/docs")
    built.json(built.dist / "required-server-files.json", {"files": [], "config": {"assetPrefix": prefix}})
    assert list(built.trace().assets) == served


def test_a_base_path_stands_before_the_urls(tmp_path: Path) -> None:
    built = Built(tmp_path)
    built.routes(basePath="/docs")
    files = built.trace()
    assert dict(files.assets) == {"/docs/_next/static": ".next/static"}
    assert dict(files.public) == {"/docs": "public"}
