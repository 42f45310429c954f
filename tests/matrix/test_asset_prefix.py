"""Every supported major of Next.js takes a CDN's address from outside, in its pages and in what its server runs with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployd.stages import build
from tests.support.nextsmall import MAJORS, NextSmall

HOOK = Path(build.__file__).with_name("nextassets.cjs")
URL = "https://cdn.shop.example/shop"


@pytest.mark.parametrize("major", MAJORS)
def test_pages_ask_at_the_address(tmp_path: Path, major: str) -> None:
    app = NextSmall.make(tmp_path / "shop", major=major)
    app.build(
        standalone=True,
        DEPLOYD_ASSET_PREFIX=URL,
        NODE_OPTIONS=f"--require={HOOK}",
        NEXT_DEPLOYMENT_ID="b0123456789abcdef0123",
    )
    facts = json.loads((app.dist / "required-server-files.json").read_text())
    assert facts["config"]["assetPrefix"] == URL
    pages = [path.read_text() for path in (app.dist / "server").rglob("*.html")]
    assert any(f'src="{URL}/_next/static/' in page for page in pages)
    assert not any('src="/_next/static/' in page for page in pages)
    name = (app.dist / "BUILD_ID").read_text()
    assert not name.startswith("build-")  # 16's constant one would be the same for every release
