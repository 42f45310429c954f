"""Hashed assets in a bucket: only what is new travels, with the right headers, and only what nobody needs goes."""

from __future__ import annotations

import random

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from deployd.domain.artifact import FileEntry, Manifest
from deployd.domain.ids import AppName, EnvironmentName, ReleaseId
from deployd.domain.options import Assets
from deployd.domain.secret import Secret
from deployd.errors import CancelledError, StorageError
from deployd.paths import StatePaths
from deployd.stages.package import objects
from deployd.stages.package.assetbucket import AssetBucket

SHOP, PRODUCTION, STAGING = AppName("shop"), EnvironmentName("production"), EnvironmentName("staging")
KEYS = (Secret("key"), Secret("hush-hush"))
ONE, TWO, THREE = (ReleaseId(f"2026-one-{n}") for n in range(3))


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def assets(endpoint):
    bucket = f"b{random.randrange(10**9)}"
    assert httpx.put(f"{endpoint}/{bucket}").status_code == 200
    return Assets(bucket=bucket, prefix="web/shop", endpoint=endpoint, region="eu-central-1")


@pytest.fixture
def client(endpoint):
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )


@pytest.fixture
def state(tmp_path):
    return StatePaths(tmp_path / "state").make()


def manifest_of(state, files: dict[str, bytes], *, prefix: str = "/_next/static") -> Manifest:
    entries = []
    for path, content in sorted(files.items()):
        source = state.root / "source"
        source.write_bytes(content)
        sha256, size, _ = objects.store_file(str(source), artifacts=state.artifacts)
        entries.append(FileEntry(path=path, mode=0o644, size=size, sha256=sha256))
    return Manifest(entry="server.js", files=tuple(entries), assets={prefix: ".next/static"})


def send(bucket, manifest, state, release, *, environment=PRODUCTION, **more):
    return bucket.send(manifest, app=SHOP, environment=environment, release=release, artifacts=state.artifacts, **more)


def keys(client, assets) -> set[str]:
    found = client.list_objects_v2(Bucket=assets.bucket).get("Contents", [])
    return {one["Key"] for one in found if "/.deployd/" not in one["Key"]}


BOTH = {".next/static/chunks/same-1a2b.js": b"same", ".next/static/chunks/same-1a2b.js.br": b"brotli"}


def test_files_have_the_headers_that_a_cdn_passes_on(assets, client, state):
    files = BOTH | {".next/static/media/f.woff2": b"font", ".next/static/css/a.css": b"a{}", "server.js": b"no"}
    sent = send(AssetBucket(assets, keys=KEYS), manifest_of(state, files, prefix="/docs/_next/static"), state, ONE)
    assert (sent.files, sent.sent, sent.bytes_sent) == (4, 4, 17)
    at = "web/shop/_next/static"
    assert keys(client, assets) == {
        f"{at}/chunks/same-1a2b.js", f"{at}/chunks/same-1a2b.js.br", f"{at}/media/f.woff2", f"{at}/css/a.css",
    }  # fmt: skip
    plain = client.get_object(Bucket=assets.bucket, Key=f"{at}/chunks/same-1a2b.js")
    assert plain["ContentType"] == "text/javascript; charset=utf-8"
    assert plain["CacheControl"] == "public, max-age=31536000, immutable"
    assert plain["Body"].read() == b"same"
    assert "ContentEncoding" not in plain
    brotli = client.get_object(Bucket=assets.bucket, Key=f"{at}/chunks/same-1a2b.js.br")
    assert (brotli["ContentType"], brotli["ContentEncoding"]) == ("text/javascript; charset=utf-8", "br")
    font = client.head_object(Bucket=assets.bucket, Key=f"{at}/media/f.woff2")
    assert font["ContentType"] == "font/woff2"


def test_only_what_is_new_travels_and_what_was_written_over_travels_again(assets, client, state):
    bucket = AssetBucket(assets, keys=KEYS)
    first = manifest_of(state, BOTH | {".next/static/b/manifest.js": b"one"})
    assert send(bucket, first, state, ONE).sent == 3
    assert send(bucket, first, state, ONE).sent == 0  # a step that is done again
    second = manifest_of(state, BOTH | {".next/static/chunks/new-3c4d.js": b"new"})
    assert send(bucket, second, state, TWO).sent == 1
    # the same name and size with another content: names without a hash may be so
    third = manifest_of(state, BOTH | {".next/static/b/manifest.js": b"two"})
    assert send(bucket, third, state, THREE).sent == 1
    at = "web/shop/_next/static/b/manifest.js"
    assert client.get_object(Bucket=assets.bucket, Key=at)["Body"].read() == b"two"
    client.delete_object(Bucket=assets.bucket, Key=at)
    assert send(bucket, third, state, THREE).sent == 1


def test_what_a_kept_release_needs_stays_and_so_does_what_others_brought(assets, client, state):
    bucket = AssetBucket(assets, keys=KEYS)
    client.put_object(Bucket=assets.bucket, Key="web/shop/_next/static/chunks/mine.js", Body=b"a person's")
    send(bucket, manifest_of(state, BOTH | {".next/static/old.js": b"old"}), state, ONE)
    send(bucket, manifest_of(state, BOTH | {".next/static/stage.js": b"s"}), state, TWO, environment=STAGING)
    send(bucket, manifest_of(state, BOTH | {".next/static/new.js": b"new"}), state, THREE)
    assert bucket.prune(app=SHOP, environment=PRODUCTION, kept={ONE, THREE}) == 0
    before = keys(client, assets)
    assert bucket.prune(app=SHOP, environment=PRODUCTION, kept={THREE}) == 1
    assert keys(client, assets) == before - {"web/shop/_next/static/old.js"}
    assert bucket.prune(app=SHOP, environment=PRODUCTION, kept={THREE}) == 0
    assert bucket.prune(app=SHOP, environment=PRODUCTION, kept=()) == 1  # staging still needs what both had
    assert "web/shop/_next/static/chunks/same-1a2b.js" in keys(client, assets)
    assert bucket.prune(app=SHOP, environment=STAGING, kept=()) == 3
    assert keys(client, assets) == {"web/shop/_next/static/chunks/mine.js"}


def test_a_bucket_that_is_not_there_is_told_without_its_keys(assets, state):
    from dataclasses import replace

    AssetBucket(assets, keys=KEYS).check()
    bucket = AssetBucket(replace(assets, bucket="no-such-bucket-here"), keys=KEYS)
    with pytest.raises(StorageError):
        bucket.check()
    with pytest.raises(StorageError) as refused:
        send(bucket, manifest_of(state, BOTH), state, ONE)
    told = refused.value.to_json()
    assert (refused.value.code, refused.value.live) == ("assets-failed", "unchanged")
    assert "s3://no-such-bucket-here/web/shop" in refused.value.what
    assert "hush-hush" not in str(told)


def test_sending_ends_when_the_rollout_does(assets, client, state):
    with pytest.raises(CancelledError):
        send(AssetBucket(assets, keys=KEYS), manifest_of(state, BOTH), state, ONE, stopped=lambda: True)
    assert keys(client, assets) == set()
