"""`POST /hooks/{app}`: each delivery once, no oracle for strangers, and no secret anywhere in clear."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import pytest
from fastapi.testclient import TestClient

from deployd.daemon import wiring
from deployd.daemon.api import hooks
from deployd.daemon.api.app import make_app
from deployd.daemon.hooks import door, intake
from deployd.domain.ids import AppName
from deployd.domain.secret import Secret
from deployd.paths import StatePaths
from deployd.rollouts import locks
from tests.unit.daemon import payloads as made
from tests.unit.daemon.payloads import SECRET, B

SHOP = AppName("shop")


@pytest.fixture
def daemon(tmp_path):
    paths = StatePaths(tmp_path / "state").make()
    built = wiring.make(paths, {"public_url": "https://deployd.example"}, folder=locks.folder_lock(paths))
    built.store.apps.put(SHOP, repository="https://git.example/shop.git", subdir="", who="test")
    built.store.secrets.put("hook", app="shop", name="", value=SECRET, who="test")
    yield built
    built.store.close()


@pytest.fixture
def client(daemon):
    with TestClient(make_app(daemon), raise_server_exceptions=False) as one:
        yield one


def post(client, request, app="shop"):
    headers, body = request
    return client.post(f"/hooks/{app}", headers=headers, content=body)


def test_a_push_becomes_an_ask_and_its_id_is_the_answer(daemon, client):
    answer = post(client, made.github(made.github_push()))
    assert answer.status_code == 202
    (queued,) = daemon.store.queue.waiting()
    assert answer.json() == {"state": "asked", "rollout": queued.id, "rollouts": [queued.id], "reason": None}
    ask = queued.ask
    assert (ask.app, ask.environment, ask.branch, ask.commit, ask.cause) == ("shop", "", "main", B, "push")
    assert (ask.who, ask.automatic) == ("github:anna", True)
    (entry,) = daemon.store.audit.latest()
    assert (entry.who, entry.origin, entry.subject) == ("github:anna", "hook from testclient", queued.id)


def test_a_replay_is_seen_and_does_nothing_also_after_the_ask_is_gone(daemon, client):
    first = post(client, made.github(made.github_push())).json()
    daemon.store.queue.finish(first["rollout"], outcome="live")
    again = post(client, made.github(made.github_push()))
    assert (again.status_code, again.json()["state"], again.json()["rollout"]) == (200, "seen", first["rollout"])
    assert daemon.store.queue.waiting() == ()
    assert len(daemon.store.deliveries.latest("shop")) == 1


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (made.github({"zen": "x"}, event="ping"), "tried"),
        (made.github({"action": "opened"}, event="issues"), "starts nothing"),
        (made.github(made.github_push(deleted=True, after=made.ZEROS, head_commit=None)), "deleted"),
        (made.github(made.github_push(head_commit={"message": "Typo [Skip Deploy]"})), "skip deploy"),
    ],
)
def test_what_starts_nothing_says_why(daemon, client, request_, reason):
    answer = post(client, request_)
    assert (answer.status_code, answer.json()["state"]) == (200, "ignored")
    assert reason in answer.json()["reason"]
    assert daemon.store.queue.waiting() == ()
    assert reason in (daemon.store.deliveries.latest("shop")[0].reason or "")


def test_a_push_of_several_branches_asks_for_each(daemon, client):
    def moved(name):
        return {
            "new": {"type": "branch", "name": name, "target": {"hash": B, "message": "x"}},
            "old": None,
        }

    answer = post(client, made.bitbucket(made.bitbucket_push(moved("main"), moved("staging")))).json()
    assert len(answer["rollouts"]) == 2
    assert {one.ask.branch for one in daemon.store.queue.waiting()} == {"main", "staging"}


def test_strangers_learn_nothing(daemon, client):
    headers, body = made.github(made.github_push())
    daemon.store.apps.put(AppName("other"), repository="https://git.example/o.git", subdir="", who="test")
    answers = [
        client.post("/hooks/shop", headers={**headers, "x-hub-signature-256": "sha256=0"}, content=body),
        client.post("/hooks/shop", content=body),
        client.post("/hooks/nobody", headers=headers, content=body),
        client.post("/hooks/other", headers=headers, content=body),  # an app without a secret
        client.post("/hooks/No_App!", headers=headers, content=body),
        client.post("/hooks/shop", headers=headers, content=body + b" "),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert daemon.store.queue.waiting() == ()
    assert {(entry.action, entry.outcome) for entry in daemon.store.audit.latest()} == {("hook", "refused")}


def test_guessing_is_slowed_down_and_true_deliveries_are_not(client):
    codes = [client.post("/hooks/shop", content=b"{}").status_code for _ in range(12)]
    assert codes[:10] == [401] * 10
    assert codes[10:] == [429] * 2
    assert post(client, made.github(made.github_push())).status_code == 202


def test_a_body_over_the_limit_is_413(client):
    headers, _ = made.github(made.github_push())
    assert client.post("/hooks/shop", headers=headers, content=b" " * (door.LARGEST + 1)).status_code == 413


def test_a_signed_body_that_cannot_be_read_is_422(client):
    answer = post(client, made.github({"ref": 7}))
    assert (answer.status_code, answer.json()["title"]) == (422, "hook-malformed")


def test_a_pull_request_is_asked_for_without_going_live(daemon, client):
    assert post(client, made.github(made.github_pull(), event="pull_request")).status_code == 202
    (queued,) = daemon.store.queue.waiting()
    assert (queued.ask.cause, queued.ask.activate, queued.ask.branch) == ("pull_request", False, "pull/12")


def test_a_burst_loses_nothing_and_does_duplicates_once(daemon, client):
    requests = [made.github(made.github_push(ref=f"refs/heads/b{n}"), delivery=f"d-{n}") for n in range(40)] * 3
    started = threading.Barrier(12)

    def send(part):
        started.wait()
        return [post(client, request).status_code for request in part]

    with ThreadPoolExecutor(12) as pool:
        codes = [code for found in pool.map(send, [requests[n::12] for n in range(12)]) for code in found]
    assert sorted(codes) == [200] * 80 + [202] * 40
    assert len(daemon.store.queue.waiting()) == 40
    assert len(daemon.store.deliveries.latest("shop", limit=500)) == 40


@pytest.fixture
def opened(daemon, monkeypatch):
    """The apps whose secrets were read from the store, one entry each time."""
    reveal, found = daemon.store.secrets.reveal, []
    monkeypatch.setattr(
        daemon.store.secrets,
        "reveal",
        lambda kind, *, app, name: [found.append(app), reveal(kind, app=app, name=name)][1],
    )
    return found


def test_in_a_burst_the_secret_is_opened_once_and_one_that_was_changed_counts_at_once(
    daemon, client, opened, monkeypatch
):
    monkeypatch.setattr(intake, "_AT_HAND", 3600.0)
    codes = [post(client, made.github(made.github_push(ref=f"refs/heads/{n}"), delivery=f"{n}")) for n in range(20)]
    assert {answer.status_code for answer in codes} == {202}
    assert opened == ["shop"]
    daemon.store.secrets.put("hook", app="shop", name="", value=Secret("another one"), who="test")
    assert post(client, made.github(made.github_push())).status_code == 401
    assert daemon.store.secrets.remove("hook", app="shop", name="")
    assert post(client, made.github(made.github_push())).status_code == 401


def test_a_refusal_takes_the_same_way_each_time_for_an_app_that_is_there(client, opened):
    headers, body = made.github(made.github_push())
    for _ in range(3):
        assert client.post("/hooks/shop", headers=headers, content=body + b" ").status_code == 401
    assert opened == ["shop"] * 3


def test_those_who_ask_while_a_secret_is_read_wait_for_the_same_one(daemon, opened, monkeypatch):
    reveal = daemon.store.secrets.reveal
    gate = threading.Event()
    monkeypatch.setattr(daemon.store.secrets, "reveal", lambda *a, **k: [gate.wait(10), reveal(*a, **k)][1])

    async def all_at_once():
        asking = [asyncio.ensure_future(daemon.hook_secrets.get("shop")) for _ in range(40)]
        asking[0].cancel()  # who asked first goes away: the others get their answer all the same
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*asking, return_exceptions=True)

    gone, *found = asyncio.run(all_at_once())
    assert isinstance(gone, asyncio.CancelledError)
    assert [one.reveal() for one in found] == [SECRET.reveal()] * 39
    assert opened == ["shop"]


def test_no_secret_is_anywhere_in_clear(daemon, client, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    canaries = {
        "hook": "canary-hook-9f31c2",
        "forge": "canary-forge-9f31c2",
        "notify": "canary-notify-9f31c2",
        "body": "canary-body-9f31c2",
    }
    store = daemon.store
    store.secrets.put("hook", app="shop", name="", value=Secret(canaries["hook"]), who="t")
    store.secrets.put(
        "forge", app="", name="gitea", value=Secret(canaries["forge"]), who="t", extra={"url": "http://127.0.0.1:1"}
    )
    address = Secret(f"json://user:{canaries['notify']}@127.0.0.1:1")
    store.secrets.put("notify", app="", name="chat", value=address, who="t", extra={"events": []})
    body = made.body_of(made.github_push() | {"secret": canaries["body"]})  # old Gitea sends the secret in the body
    headers = {
        "content-type": "application/json",
        "x-gitea-event": "push",
        "x-gitea-signature": made.signature(body, Secret(canaries["hook"])),
    }
    assert client.post("/hooks/shop", headers=headers, content=body).status_code == 202
    headers["x-gitea-signature"] = canaries["hook"]
    assert client.post("/hooks/shop", headers=headers, content=body).status_code == 401
    assert (
        client.post(
            "/hooks/shop", headers={"x-gitlab-event": "x", "x-gitlab-token": canaries["hook"] + "x"}, content=body
        ).status_code
        == 401
    )

    from deployd import notify
    from deployd.daemon.forges import calls, speaking

    with pytest.raises(httpx.ConnectError) as caught:
        speaking.speaker(store, "shop", "gitea").say(calls.pull("gitea", repository="a/b", number=1))
    assert not notify.send(address, notify.Note(moment="live", title="x"))
    store.database.close()
    found = caplog.text + repr(caught.value) + json.dumps([entry.to_json() for entry in store.audit.latest()])
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for canary in canaries.values():
        assert canary not in found
        assert canary.encode() not in files


def test_the_hook_is_shown_with_its_secret_once_and_rotated(daemon, mocker):
    from deployd.daemon.api import auth

    mocker.patch.object(auth.Door, "caller", return_value=auth.Caller(who="root", scope="admin", origin="test"))
    with TestClient(make_app(daemon)) as client:
        known = client.post("/v1/apps/shop/hook", json={}).json()
        assert (known["url"], known["secret"]) == ("https://deployd.example/hooks/shop", None)
        fresh = client.post("/v1/apps/shop/hook", json={"rotate": True}).json()["secret"]
        assert daemon.store.secrets.reveal("hook", app="shop", name="") == Secret(fresh)
        assert post(client, made.github(made.github_push())).status_code == 401
        assert fresh not in json.dumps([entry.to_json() for entry in daemon.store.audit.latest()])
        assert client.post("/v1/apps/nobody/hook", json={}).status_code == 404


def test_an_answer_does_not_wait_for_git(daemon, client):
    began = time.monotonic()
    assert post(client, made.github(made.github_push())).status_code == 202
    assert time.monotonic() - began < 5  # the repository's address answers nobody


def test_a_body_that_does_not_come_is_given_up(monkeypatch):
    class Silent:
        async def body(self):
            await asyncio.sleep(60)

    monkeypatch.setattr(hooks, "_PATIENCE", 0.05)
    answer = asyncio.run(hooks.deliver("shop", Silent(), None, None))
    assert (answer.status_code, json.loads(answer.body)["error"]["code"]) == (408, "hook-too-slow")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate"])
def test_a_compressed_body_is_never_unpacked(client, encoding):
    body = gzip.compress(made.body_of(made.github_push()) + b" " * 10_000_000)
    headers, _ = made.github(made.github_push())
    headers |= {"content-encoding": encoding, "x-hub-signature-256": f"sha256={made.signature(body)}"}
    assert post(client, (headers, body)).json()["title"] == "hook-malformed"


def test_a_forges_own_secret_is_taken_and_what_is_told_of_deliveries_says_what_became_of_them(daemon, client):
    from deployd.daemon.api import pushes

    body = pushes.HookBody(secret="whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=")
    request = SimpleNamespace(state=SimpleNamespace())
    told = pushes.hook("shop", body, request, SimpleNamespace(who="ada"), daemon)
    assert (told["secret"], told["since"]) == (None, None)
    assert daemon.store.secrets.reveal("hook", app="shop", name="").reveal() == body.secret
    assert post(client, made.github(made.github_push())).status_code == 401  # signed with the secret before
    daemon.store.secrets.put("hook", app="shop", name="", value=SECRET, who="test")
    post(client, made.github(made.github_push()))
    (queued,) = daemon.store.queue.waiting()
    daemon.store.queue.finish(queued.id, outcome="ignored", reason="nothing changed")
    (delivery,) = pushes.deliveries("shop", None, daemon)["deliveries"]
    assert delivery["became"] == [{"rollout": queued.id, "state": "ignored", "reason": "nothing changed"}]
    fresh = pushes.hook("shop", pushes.HookBody(rotate=True), request, SimpleNamespace(who="ada"), daemon)["secret"]
    assert len(base64.b64decode(fresh.removeprefix("whsec_"), validate=True)) == 32
