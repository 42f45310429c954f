"""The payloads that GitHub's community publishes (`@octokit/webhooks-examples`), all of them, signed, to the real API."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import httpx
import pytest

from deployd.daemon import wiring
from deployd.daemon.api.app import make_app
from deployd.domain.ids import AppName
from deployd.paths import StatePaths
from deployd.rollouts import locks
from tests.unit.daemon.payloads import SECRET, signature

PACKAGE = "@octokit/webhooks-examples@7.6.1"
INTEGRITY = "De6U3XB6O3DtCa7bKgCMzTHdeopqqZ6SNivMYJnK65ierKL1AnNIA0tkRYCRS7lwGT792d+Ps1WbfHlso6MynQ=="
STARTING = {("pull_request", action) for action in ("opened", "reopened", "synchronize", "ready_for_review", "closed")}
MASTER = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Any]]:
    """Event and payload, as published."""
    folder = tmp_path_factory.mktemp("examples")
    told = subprocess.run(
        ["npm", "pack", PACKAGE, "--silent"], cwd=folder, check=True, capture_output=True, text=True, timeout=120
    )
    file = folder / told.stdout.split()[-1]
    assert base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode() == INTEGRITY
    with tarfile.open(file) as packed:
        packed.extractall(folder, filter="data")
    found = json.loads(Path(folder, "package", "api.github.com", "index.json").read_text())
    return [(event["name"], payload) for event in found for payload in event["examples"]]


class Client:
    """Asks the API in this process."""

    def __init__(self, daemon: Any) -> None:
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(make_app(daemon)), base_url="http://api")
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._http.aclose())
        self._runner.close()

    def post(self, path: str, *, content: bytes, headers: dict[str, str]) -> httpx.Response:
        return self._runner.run(self._http.post(path, content=content, headers=headers))


@pytest.fixture
def daemon(tmp_path: Path) -> Any:
    paths = StatePaths(tmp_path / "state").make()
    built = wiring.make(paths, {}, folder=locks.folder_lock(paths))
    built.store.apps.put(AppName("shop"), repository="https://git.example/shop.git", subdir="", who="test")
    built.store.secrets.put("hook", app="shop", name="", value=SECRET, who="test")
    yield built
    built.store.close()


def deliver(client: Client, event: str, payload: Any, number: int, *, form: bool = False) -> Any:
    text = json.dumps(payload, ensure_ascii=False)
    body = urlencode({"payload": text}).encode() if form else text.encode()
    headers = {
        "content-type": "application/x-www-form-urlencoded" if form else "application/json",
        "x-github-event": event,
        "x-github-delivery": f"example-{number}",
        "x-hub-signature-256": f"sha256={signature(body)}",
    }
    return client.post("/hooks/shop", content=body, headers=headers)


def test_every_published_example_is_understood(daemon, examples):
    assert len(examples) > 300
    with Client(daemon) as client:
        for number, (event, payload) in enumerate(examples):
            answer = deliver(client, event, payload, number, form=bool(number % 2))
            told = (event, payload.get("action"), answer.text)
            asks = (event, payload.get("action")) in STARTING or (event == "push" and not payload["deleted"])
            assert answer.status_code == (202 if asks else 200), told
            assert (answer.json()["rollout"] is not None) == asks, told
            assert asks or answer.json()["reason"], told


def test_the_published_pushes_ask_for_what_was_pushed(daemon, examples):
    with Client(daemon) as client:
        for number, (event, payload) in enumerate(examples):
            if event == "push":
                deliver(client, event, payload, number)
    asked = {(one.ask.branch, one.ask.ref, one.ask.commit, one.ask.who) for one in daemon.store.queue.latest()}
    assert asked == {
        ("master", "master", MASTER, "github:Codertocat"),
        ("tag simple-tag", "refs/tags/simple-tag", MASTER, "github:Codertocat"),
    }
    reasons = {one.reason for one in daemon.store.deliveries.latest("shop") if not one.rollouts}
    assert reasons == {"tag simple-tag was deleted"}


def test_the_published_pull_requests_are_of_forks_or_not(daemon, examples):
    pulls = [payload for event, payload in examples if (event, payload.get("action")) in STARTING]
    with Client(daemon) as client:
        for number, payload in enumerate(pulls):
            deliver(client, "pull_request", payload, number)
    asked = {one.ask.key: one.ask for one in daemon.store.queue.latest(limit=500)}
    assert len(asked) == len(pulls) > 8
    for number, payload in enumerate(pulls):
        ask, pull = asked[f"pull:shop:example-{number}"], payload["pull_request"]
        assert ask.commit == pull["head"]["sha"]
        assert ask.ref == f"refs/pull/{payload['number']}/head"
        assert not ask.activate
        heads = (pull["head"]["repo"] or {}).get("full_name")
        assert ask.details["fork"] == (heads != pull["base"]["repo"]["full_name"])
