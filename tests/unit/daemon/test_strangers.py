"""What somebody tries who has read the source, or has a token of another app: nothing of it starts or tells anything."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import sqlite3
import time
from dataclasses import replace

import pytest

from deployd import logs
from deployd.daemon.api import hooks
from deployd.domain.ids import AppName, EnvironmentName, ReleaseId, RolloutId
from deployd.domain.schedule import Approval
from deployd.domain.secret import Secret
from deployd.errors import NotFoundError
from deployd.rollouts import consent
from deployd.store.database import Database, _explained
from tests.contract.test_store import provenance_of, release_of
from tests.unit.daemon.frame import TestClient

PLACE = "/v1/apps/shop/environments/production"
ROLLOUT = RolloutId("r-20261121-101530-k2x7ab")


def signed(secret: str, **payload) -> tuple[bytes, dict[str, str]]:
    body, stamp = json.dumps(payload).encode(), str(int(time.time()))
    made = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return body, {"X-Deployd-Timestamp": stamp, "X-Deployd-Signature": f"sha256={made}"}


@pytest.mark.parametrize("app", ["shop", "unknown", "NO.name"])
def test_an_app_without_a_secret_takes_nothing_whatever_it_is_signed_with(frame, app):
    frame.daemon.store.apps.put(AppName("shop"), repository="/r", subdir="", who="test")
    for secret in (hooks.NOBODY.reveal(), "\0 no app has this secret", "None", ""):
        body, headers = signed(secret, ref="refs/heads/main", after="a" * 40)
        assert frame.client.post(f"/hooks/{app}", content=body, headers=headers).status_code == 401
    assert frame.daemon.store.queue.waiting() == ()


def waiting(store, app: str) -> None:
    place = (AppName(app), EnvironmentName("production"))
    store.rollouts.add(
        ROLLOUT, kind="release", app=place[0], environment=place[1], state="waiting", who="ada", owner="1:2:b", wish={}
    )
    store.approvals.add(
        Approval(
            rollout=ROLLOUT, app=AppName(app), environment=EnvironmentName("production"),
            release=ReleaseId("20261121-101530-3fa9c01-k2x7"), asked_by="ada", by_another=False,
            created="2026-11-21T10:15:30.000Z", until="2999-01-01T00:00:00.000Z", state="pending",
        )
    )  # fmt: skip


@pytest.mark.parametrize("word", ["approve", "reject"])
def test_who_may_act_for_one_app_decides_nothing_about_another(frame, word):
    store = frame.daemon.store
    waiting(store, "bank")
    answer = frame.client.post(f"{PLACE}/{word}", json={"rollout": ROLLOUT}, headers=frame.token("release", "shop"))
    assert (answer.status_code, answer.json()["title"]) == (404, "nothing-waits")
    assert store.approvals.get(ROLLOUT).state == "pending"
    with pytest.raises(NotFoundError):
        consent.find(store, ROLLOUT, AppName("shop"), EnvironmentName("production"))
    assert consent.find(store, ROLLOUT, AppName("bank"), EnvironmentName("production")).app == "bank"


def test_what_waits_for_a_yes_is_rejected_and_not_cancelled_and_that_is_said(frame):
    waiting(frame.daemon.store, "shop")
    frame.daemon.store.rollouts.finish(ROLLOUT, state="waiting", outcome="waiting", result={}, error=None)
    answer = frame.local.post(f"/v1/rollouts/{ROLLOUT}/cancel")
    assert (answer.status_code, answer.json()["error"]["fix"]) == (404, f"deployd reject {ROLLOUT}")


def test_a_schedule_names_a_release_of_its_own_app(frame):
    made = replace(release_of(1), app=AppName("bank"))
    frame.daemon.store.releases.add(made, provenance=provenance_of(made))
    wanted = {"kind": "rollback", "within": 60, "release": made.id}
    answer = frame.client.post(f"{PLACE}/schedules", json=wanted, headers=frame.token("release", "shop"))
    assert (answer.status_code, answer.json()["title"]) == (422, "schedule-invalid")


@pytest.mark.usefixtures("logs_as_before")
def test_the_log_of_a_failure_has_no_token_and_no_header_in_it(frame, monkeypatch):
    def fail(*_args, **_options):
        inside = "Bearer of what a frame holds"
        raise RuntimeError(f"{len(inside)} broke")

    headers = frame.token("admin")
    monkeypatch.setattr("deployd.store.audit.Audit.latest", fail)
    for style in ("json", "console"):
        out = io.StringIO()
        logs.set_up(style=style, stream=out)
        assert frame.client.get("/v1/audit", headers=headers).status_code == 500
        assert "28 broke" in out.getvalue()
        assert headers["Authorization"].split("_")[2] not in out.getvalue()
        assert "Bearer" not in out.getvalue()


def test_an_error_of_the_database_does_not_tell_what_was_to_be_written(frame):
    with pytest.raises(Exception, match="no such table") as raised, frame.daemon.store.database.write() as connection:
        connection.exec_driver_sql("INSERT INTO nowhere VALUES (?)", ("s3cret-value",))
    assert "s3cret-value" not in str(raised.value)


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_at_an_end_of_the_calendar_is_refused(frame, at):
    answer = frame.local.post(f"{PLACE}/schedules", json={"kind": "rollback", "at": at})
    assert (answer.status_code, answer.json()["title"]) == (422, "time-invalid")


@pytest.mark.parametrize("full", ["database or disk is full", "database is locked"])
def test_what_cannot_be_kept_now_is_to_be_sent_again(frame, monkeypatch, full):
    def write(_database):
        raise _explained(frame.paths.database, sqlite3.OperationalError(full))

    frame.daemon.store.secrets.put("hook", app="shop", name="", value=Secret("s3cret"), who="t")
    body, headers = signed("s3cret", ref="refs/heads/main", after="a" * 40)
    reader = frame.token("read")
    monkeypatch.setattr(Database, "write", write)
    assert frame.client.get("/v1/rollouts", headers=reader).status_code == 200  # who looks needs no room
    answer = frame.client.post("/hooks/shop", content=body, headers=headers)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert answer.headers["content-type"] == "application/problem+json"


def wrong(frame, forwarded: str, *, peer: str, proxy: str | None = None) -> tuple[int, str]:
    """The answer to a wrong token, and where the audit log says that it came from."""
    frame.daemon.change_settings({"proxy": proxy} if proxy else {})
    client = TestClient(frame.app, client=(peer, 1))
    headers = {"Authorization": "Bearer x", "X-Forwarded-For": forwarded}
    return client.get("/v1/me", headers=headers).status_code, frame.daemon.store.audit.latest()[0].origin


def test_where_a_request_comes_from_is_what_the_proxy_says_and_nobody_else(frame):
    assert wrong(frame, "192.0.2.7", peer="127.0.0.1")[1] == "127.0.0.1"
    assert wrong(frame, "192.0.2.7", peer="198.51.100.1", proxy="127.0.0.1")[1] == "198.51.100.1"
    assert wrong(frame, "10.0.0.1, 192.0.2.7", peer="127.0.0.1", proxy="127.0.0.1")[1] == "192.0.2.7"
    assert wrong(frame, "nonsense\x0b", peer="127.0.0.1", proxy="127.0.0.1")[1] == "127.0.0.1"


def test_one_network_of_ipv6_is_one_address_and_two_behind_a_proxy_are_two(frame):
    codes = [wrong(frame, f"2001:db8::{one:x}", peer="127.0.0.1", proxy="127.0.0.1")[0] for one in range(1, 13)]
    assert codes == [401] * 10 + [429] * 2
    assert wrong(frame, "2001:db8:0:1::1", peer="127.0.0.1", proxy="127.0.0.1")[0] == 401


def test_an_app_that_was_removed_is_released_by_nothing(frame):
    frame.local.put("/v1/apps/shop", json={"repository": "https://git.example/shop.git"})
    secret = frame.local.post("/v1/apps/shop/hook", json={}).json()["secret"]
    for kind in ("release", "rollback"):
        assert frame.local.post(f"{PLACE}/schedules", json={"kind": kind, "cron": "0 4 * * *"}).status_code == 201
    assert frame.local.delete("/v1/apps/shop").status_code == 204
    left = frame.local.get("/v1/apps/shop/schedules").json()["schedules"]
    assert [one["kind"] for one in left] == ["rollback"]
    frame.local.put("/v1/apps/shop", json={"repository": "https://git.example/another.git"})
    body, headers = signed(secret, ref="refs/heads/main", after="a" * 40)
    assert frame.client.post("/hooks/shop", content=body, headers=headers).status_code == 401


def test_the_same_schedule_twice_is_refused_and_names_the_first(frame):
    wanted = {"kind": "rollback", "at": "tomorrow 04:00", "timezone": "Asia/Kathmandu"}
    first = frame.local.post(f"{PLACE}/schedules", json=wanted)
    again = frame.local.post(f"{PLACE}/schedules", json=wanted)
    assert (first.status_code, again.status_code) == (201, 422)
    assert first.json()["id"] in again.json()["detail"]
    assert frame.local.post(f"{PLACE}/schedules", json={**wanted, "timezone": "UTC"}).status_code == 201
    assert frame.local.delete(f"/v1/schedules/{first.json()['id']}").status_code == 200
    assert frame.local.post(f"{PLACE}/schedules", json=wanted).status_code == 201


def test_a_made_up_app_is_never_asked_for_and_makes_no_series_of_numbers(frame):
    answer = frame.client.post("/v1/rollbacks", json={"app": "made-up"}, headers=frame.token("release"))
    assert (answer.status_code, answer.json()["title"]) == (404, "app-unknown")
    assert frame.daemon.store.queue.latest() == ()


def test_the_audit_log_has_it_before_anything_of_the_answer_is_out(frame):
    """An answer without a body is whole with its head: who reads it may look into the audit log at once."""
    there, store = [], frame.daemon.store

    async def watched(scope, receive, send):
        async def sent(message):
            if message["type"] == "http.response.start":
                there.append([one.action for one in store.audit.latest()])
            await send(message)

        await frame.app(scope, receive, sent)

    client, headers = TestClient(watched), frame.token("admin")
    assert client.put(
        "/v1/apps/shop/environments/production/variables/A", json={"value": "1"}, headers=headers
    ).is_success
    assert client.delete("/v1/apps/shop/environments/production/pin", headers=headers).is_success
    assert [one[0] for one in there] == ["set variable", "unpin"]


@pytest.mark.parametrize(
    ("asked", "says_yes", "same"),
    [
        ("github:ada", "ada", True),
        ("ada", "Ada", True),
        ("hook:ada", "gitlab:ada", True),
        ("ada", "bob", False),
        ("github:ada", "adam", False),
        ("token tk-1", "token tk-2", False),
    ],
)
def test_who_pushed_is_known_again_by_the_name_of_their_token(asked, says_yes, same):
    assert consent.is_same_person(asked, says_yes) is same
