"""The example app with its hashed files in a bucket: a real browser gets them there, and a bucket that fails costs nothing."""

from __future__ import annotations

import json
import random
import shutil
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.support.browser import Tab, chromium
from tests.support.nextcells import commit
from tests.support.world import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.world import World

EXTRA = """\
assets = {{ bucket = "{bucket}", prefix = "web/shop", endpoint = "{endpoint}", url = "{endpoint}/{bucket}/web/shop" }}
[keep]
releases = 2
failed = 0
"""


class Bucket:
    """A bucket that anybody may read, which stands for a CDN too."""

    def __init__(self) -> None:
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        self.endpoint = "http://{}:{}".format(*self.server.get_host_and_port())
        self.name = f"b{random.randrange(10**9)}"
        self.client: Any = boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
        )
        self.client.create_bucket(Bucket=self.name)
        may = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{self.name}/*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [may]})
        self.client.put_bucket_policy(Bucket=self.name, Policy=policy)

    def files(self) -> dict[str, Any]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        found = {one["Key"]: one["LastModified"] for page in pages for one in page.get("Contents", [])}
        return {key: when for key, when in found.items() if "/.deployd/" not in key}


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    made = Bucket()
    yield made
    made.server.stop()


def example(world: World, bucket: Bucket) -> None:
    ignore = shutil.ignore_patterns("node_modules", ".next")
    shutil.copytree(ROOT / "examples" / "nextjs", world.app, dirs_exist_ok=True, ignore=ignore)
    # the keys of a release stand before the tables
    world.write_toml(hosts=[world.hosts[0].name])
    toml = (world.app / "deployd.toml").read_text()
    extra, tables = EXTRA.format(bucket=bucket.name, endpoint=bucket.endpoint).split("[keep]")
    (world.app / "deployd.toml").write_text(f"{extra}{toml}[keep]{tables}")
    commit(world.app)


def change(world: World, version: str) -> None:
    page = world.app / "app" / "action" / "page.tsx"
    page.write_text(page.read_text().replace("Press it", f"Press it {version}"))
    commit(world.app)


@pytest.mark.timeout(900)
def test_a_browser_gets_hashed_files_from_the_bucket_for_as_long_as_a_release_is_kept(
    world: World, bucket: Bucket
) -> None:
    example(world, bucket)
    refused = world.run("release", "--json", check=1, timeout=400)
    assert refused.error["code"] == "assets-failed"  # no keys yet, and nothing was built
    assert "build_planned" not in refused.out
    world.env |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hush-hush-hush"}

    told = world.run("release", "--json", timeout=400)
    (sent,) = [one for one in told.events if one["event"] == "assets_sent"]
    assert sent["sent"] == sent["files"] == len(bucket.files()) > 10
    assert "hush-hush-hush" not in told.out + told.err
    with chromium() as browser:
        tab = Tab(browser.new_context().new_page(), f"http://{world.hosts[0].address}")
        asked: list[str] = []
        tab.page.on("response", lambda response: asked.append(response.url))
        tab.open("/action")
        tab.click("fresh", shows="Never old")
        tab.click("dynamic", shows="Made for you")
        assert not [url for url in asked if "/_next/static/" in url and not url.startswith(bucket.endpoint)]
        assert len([url for url in asked if url.startswith(bucket.endpoint)]) > 3
        assert tab.troubles == []

        # only what is new travels, and a tab of the release before goes on
        before = bucket.files()
        change(world, "again")
        told = world.run("release", "--json", timeout=400)
        (sent,) = [one for one in told.events if one["event"] == "assets_sent"]
        after = bucket.files()
        assert sent["sent"] == len(after.keys() - before.keys()) < sent["files"]
        assert {key: after[key] for key in before} == before
        tab.click("action", shows="Press it")
        assert tab.troubles == []

    live = world.status()["release"]
    change(world, "more")
    bucket.server.stop()
    failed = world.run("release", "--json", check=1, timeout=400)
    assert failed.error["code"] == "assets-failed"
    assert world.status()["release"] == live
    assert world.ask("/health")[0] == 200
