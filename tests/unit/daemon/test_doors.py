"""One door, deny by default: every route with every scope and with none; tokens, peers, bounds, problems, audit."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from dataclasses import replace

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from deployd.daemon.api import app as api
from deployd.daemon.api import auth
from deployd.domain.daemon import SCOPES
from deployd.domain.ids import AppName, EnvironmentName, RolloutId
from tests.contract.test_store import provenance_of, release_of
from tests.unit.daemon.frame import TestClient

ROUTES = [
    (method, route)
    for router in api.ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods)
]
VALUES = {
    "app": "shop",
    "environment": "production",
    "release": "20261121-101530-3fa9c01-k2x7",
    "rollout": "r-20261121-101530-k2x7ab",
    "host": "web9",
    "key": "NAME",
    "token": "0123456789",
}
PUBLIC = {"/healthz", "/openapi.json", "/docs", "/hooks/{app}", "/rollouts/{rollout}"}


def path_of(route: APIRoute) -> str:
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: VALUES.get(found.group(1), "x"), route.path)


def test_what_answers_strangers_is_known_by_name():
    assert {route.path for _, route in ROUTES if auth.scope_of(route) is None} == PUBLIC


@pytest.mark.parametrize(("method", "route"), ROUTES, ids=[f"{method} {route.path}" for method, route in ROUTES])
def test_every_route_refuses_strangers_and_smaller_scopes(frame, method, route):
    needed = auth.scope_of(route)
    if needed is None:
        assert route.path in PUBLIC
        return
    path = path_of(route)
    assert frame.client.request(method, path, json={}).status_code == 401
    assert frame.client.request(method, path, json={}, headers={"Authorization": "Bearer x"}).status_code == 401
    for scope in SCOPES:
        answer = frame.client.request(method, path, json={}, headers=frame.token(scope))
        refused = answer.status_code == 403 and answer.json()["title"] == "token-scope"
        assert refused == (SCOPES.index(scope) < SCOPES.index(needed)), (scope, answer.status_code, answer.text)
        assert answer.status_code < 500


@pytest.mark.parametrize(("method", "route"), ROUTES, ids=[f"{method} {route.path}" for method, route in ROUTES])
def test_a_token_of_another_app_is_refused_wherever_an_app_is_named(frame, method, route):
    if "{app}" not in route.path or auth.scope_of(route) is None:
        return
    answer = frame.client.request(method, path_of(route), json={}, headers=frame.token("admin", "other"))
    assert (answer.status_code, answer.json()["title"]) == (403, "token-app")


@pytest.mark.parametrize("noun", ["releases", "rollbacks", "cancel"])
def test_a_token_of_another_app_is_refused_by_what_a_body_names(frame, noun):
    frame.daemon.store.apps.put("shop", repository="/r", subdir="", who="test")
    answer = frame.client.post(f"/v1/{noun}", json={"app": "shop"}, headers=frame.token("release", "other"))
    assert (answer.status_code, answer.json()["title"]) == (403, "token-app")


def test_a_plan_is_of_an_app_of_the_token_and_a_whole_wish_of_this_machine(frame):
    headers = frame.token("release", "other")
    answer = frame.client.post("/v1/plans", json={"ask": {"app": "shop"}}, headers=headers)
    assert (answer.status_code, answer.json()["title"]) == (403, "token-app")
    answer = frame.client.post("/v1/plans", json={"wish": {"v": 1}}, headers=frame.token("admin"))
    assert (answer.status_code, answer.json()["title"]) == (403, "not-local")
    assert frame.local.post("/v1/plans", json={}).status_code == 422
    assert frame.local.post("/v1/plans", json={"wish": {"v": 1}}).status_code == 422


def test_what_concerns_every_app_is_not_for_a_token_of_some(frame):
    headers = frame.token("admin", "other")
    assert frame.client.post("/v1/adopt", json={}, headers=headers).json()["title"] == "token-app"
    assert frame.client.get("/v1/audit", headers=headers).json()["title"] == "token-app"
    assert frame.client.get("/v1/tokens", headers=headers).json()["title"] == "token-app"
    assert frame.client.get("/metrics", headers=headers).json()["title"] == "token-app"


def test_a_route_without_a_door_ends_the_start(frame, monkeypatch):
    router = APIRouter()
    router.add_api_route("/v1/open", auth.public)
    monkeypatch.setattr(api, "ROUTERS", (*api.ROUTERS, router))
    with pytest.raises(RuntimeError, match="/v1/open has no door"):
        api.make_app(frame.daemon)


@pytest.mark.parametrize("path", ["/healthz", "/docs", "/openapi.json"])
def test_what_watches_over_the_daemon_may_ask_for_the_head_alone(frame, path):
    frame.daemon.dispatcher.beat = time.monotonic()
    answer = frame.client.head(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, frame.client.get(path).headers["content-type"])
    frame.daemon.dispatcher.beat -= 3600
    assert frame.client.head("/healthz").status_code == 503


def test_a_key_counts_for_one_app_environment_and_kind(frame):
    for app in ("shop", "bank"):
        frame.daemon.store.apps.put(AppName(app), repository="/r", subdir="", who="test")
    wanted = [("shop", "production"), ("shop", "staging"), ("bank", "production")]
    asked = [
        frame.client.post(
            "/v1/releases",
            json={"app": app, "environment": place, "key": "build-7"},
            headers=frame.token("release", app),
        ).json()
        for app, place in (*wanted, wanted[0])
    ]
    assert [one["fresh"] for one in asked] == [True, True, True, False]
    assert asked[3]["rollout"] == asked[0]["rollout"]
    assert len({one["rollout"] for one in asked}) == 3
    back = frame.local.post("/v1/rollbacks", json={"app": "shop", "key": "build-7"})
    assert back.json()["fresh"]


def test_who_is_bound_to_an_app_learns_nothing_of_others_releases_and_keys(frame):
    made = replace(release_of(1), app=AppName("bank"))
    frame.daemon.store.releases.add(made, provenance=provenance_of(made))
    bodies = [{"app": "shop", "environment": "staging", "release": one} for one in (made.id, release_of(2).id)]
    answers = [frame.client.post("/v1/promotes", json=one, headers=frame.token("release", "shop")) for one in bodies]
    assert [(one.status_code, one.json()["title"]) for one in answers] == [(404, "release-unknown")] * 2
    answer = frame.client.get(f"/v1/releases/{made.id}/diff/{made.id}", headers=frame.token("read", "shop"))
    assert (answer.status_code, "bank" in answer.text) == (404, False)
    for name, apps in (("anna", ["shop"]), ("bob", ["bank"]), ("carl", [])):
        frame.daemon.store.git_keys.add(name=name, fingerprint=name, line=name, apps=apps, who="test")
    told = frame.client.get("/v1/keys", headers=frame.token("read", "shop")).json()["keys"]
    assert [one["name"] for one in told] == ["anna", "carl"]


def test_who_is_bound_to_apps_sees_their_rollouts_however_many_others_there_are(frame):
    apps = ["shop", "bank", *["other"] * 5]
    for number, app in enumerate(apps):
        frame.daemon.store.rollouts.add(
            RolloutId(f"r-20261121-10153{number}-k2x7ab"), kind="release", app=AppName(app), state="building",
            environment=EnvironmentName("production"), who="ada", wish={}, owner="test",
        )  # fmt: skip
    for bound in (["shop"], ["shop", "bank"]):
        told = frame.client.get("/v1/rollouts", params={"limit": 2}, headers=frame.token("read", *bound)).json()
        assert [one["app"] for one in told["rollouts"]] == bound[::-1]
    told = frame.client.get("/v1/rollouts", params={"limit": 2}, headers=frame.token("read")).json()
    assert [one["app"] for one in told["rollouts"]] == ["other", "other"]


def test_expired_and_revoked_tokens_are_refused(frame):
    assert frame.client.get("/v1/me", headers=frame.token(expires="2020-01-01T00:00:00.000Z")).status_code == 401
    headers = frame.token("read")
    made = frame.daemon.store.tokens.all()[-1]
    assert frame.client.get("/v1/me", headers=headers).status_code == 200
    frame.daemon.store.tokens.revoke(made.id)
    assert frame.client.get("/v1/me", headers=headers).status_code == 401


def test_a_token_is_kept_as_a_hash_alone(frame):
    answer = frame.local.post("/v1/tokens", json={"scope": "read", "expires_in": 60})
    text = answer.json()["token"]
    assert answer.status_code == 201
    frame.daemon.store.database.close()
    for file in frame.paths.root.glob("deployd.sqlite*"):
        assert text.encode() not in file.read_bytes()
        assert text[-20:].encode() not in file.read_bytes()
    assert "token" not in json.dumps(frame.local.get("/v1/tokens").json()["tokens"][0])


def test_wrong_tokens_are_audited_and_then_slowed_down(frame):
    codes = [frame.client.get("/v1/me", headers={"Authorization": "Bearer dpl_x"}).status_code for _ in range(12)]
    assert codes == [401] * 10 + [429] * 2
    entries = frame.daemon.store.audit.latest()
    assert len([one for one in entries if (one.action, one.outcome) == ("login", "refused")]) == 10
    assert frame.client.get("/v1/me", headers=frame.token("read")).status_code == 200


def test_peers_are_known_by_the_kernels_word(frame):
    stranger = TestClient(frame.as_peer(64321, 64321), raise_server_exceptions=False)
    answer = stranger.get("/v1/me")
    assert (answer.status_code, answer.json()["title"]) == (403, "not-in-group")
    root = TestClient(frame.as_peer(0), raise_server_exceptions=False).get("/v1/me").json()
    assert (root["who"], root["scope"]) == ("root", "admin")


def test_a_whole_wish_is_taken_over_the_unix_socket_only(frame):
    answer = frame.client.post("/v1/wishes", json={"wish": {}}, headers=frame.token("admin"))
    assert (answer.status_code, answer.json()["title"]) == (403, "not-local")
    assert frame.local.post("/v1/wishes", json={"wish": {"v": 1}}).status_code == 422


@pytest.mark.parametrize(
    "path",
    ["/v1/rollouts/..%2f..%2fetc", "/v1/rollouts/r-1", "/v1/apps/UPPER/environments/production/status",
     "/v1/apps/shop/environments/a-b/releases", "/v1/releases/%00", "/v1/apps/..%2f/environments/x/status",
     "/v1/releases/20261121-101530-3fa9c01-k2x7/diff/..%2f..%2fkey", "/v1/releases/x/diff/y",
     "/v1/apps/shop/environments/production/locks?host=..%2fx", "/v1/apps/shop/environments/production/status?host=%00",
     "/v1/apps/shop/pushes/..%2f..%2fx", "/v1/schedules/..%2fx/run",
     "/v1/rollouts?limit=0", "/v1/rollouts?limit=99999", "/v1/audit?before=0"],
)  # fmt: skip
def test_ids_that_are_none_are_refused_before_anything_uses_them(frame, path):
    answer = frame.local.get(path)
    assert answer.status_code in {404, 422}
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_that_is_too_large_is_refused_declared_or_not(frame):
    def slowly():
        for _ in range(20):
            yield b"x" * 100_000

    assert frame.local.post("/v1/cancel", content=b"x" * 1_000_001).status_code == 413
    assert frame.local.post("/v1/cancel", content=slowly()).status_code == 413


def test_a_problem_has_our_error_in_it(frame):
    body = frame.local.get("/v1/rollouts/r-20261121-101530-k2x7ab").json()
    assert body["status"] == 404
    assert body["class"] == "NotFoundError"
    assert body["error"] | {"fix": ""} == {
        "code": "rollout-unknown", "what": "there is no rollout r-20261121-101530-k2x7ab", "host": None, "live": None,
        "details": None, "fix": "", "docs": "errors.md#rollout-unknown",
    }  # fmt: skip


def test_every_change_is_in_the_audit_log_and_stays_there(frame):
    frame.local.put("/v1/apps/shop", json={"repository": "https://git.example/shop.git"})
    path = "/v1/apps/shop/environments/production/variables/NAME"
    assert frame.local.put(path, json={"value": "s3cret-value"}).status_code == 204
    frame.client.delete("/v1/apps/shop", headers=frame.token("release"))
    entries = [(one.action, one.app, one.outcome) for one in frame.daemon.store.audit.latest()]
    assert entries[::-1] == [
        ("register app", "shop", "done"),
        ("set variable", "shop", "done"),
        ("delete /v1/apps/shop", "shop", "refused (403)"),
    ]
    assert "s3cret-value" not in str(frame.daemon.store.audit.latest())
    with sqlite3.connect(frame.paths.database) as other:
        for statement in ("DELETE FROM audit", "UPDATE audit SET who = 'nobody'"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                other.execute(statement)
    other.close()


def test_a_variables_value_never_comes_out(frame):
    path = "/v1/apps/shop/environments/production/variables"
    frame.local.put(f"{path}/NAME", json={"value": "s3cret-value"})
    answer = frame.local.get(path)
    assert [one["key"] for one in answer.json()["variables"]] == ["NAME"]
    assert "s3cret-value" not in answer.text


def test_a_folder_of_the_daemons_machine_is_no_repository_for_a_token(frame):
    answer = frame.client.put("/v1/apps/shop", json={"repository": "/etc"}, headers=frame.token("admin"))
    assert (answer.status_code, answer.json()["title"]) == (422, "repository-invalid")
    answer = frame.client.put("/v1/apps/shop", json={"repository": "file:///etc"}, headers=frame.token("admin"))
    assert answer.status_code == 422


def test_an_address_that_holds_a_password_is_not_kept(frame):
    body = {"repository": "https://ada:s3cret@git.example/shop.git"}
    for door in (lambda: frame.local.put("/v1/apps/shop", json=body),
                 lambda: frame.client.put("/v1/apps/shop", json=body, headers=frame.token("admin"))):  # fmt: skip
        answer = door()
        assert (answer.status_code, answer.json()["title"]) == (422, "repository-has-secret")
        assert "s3cret" not in answer.text


def test_the_page_of_the_api_loads_nothing_from_elsewhere(frame):
    page = frame.client.get("/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.findall(r"(?:src|href)=[\"']?https?:", page.text)
    assert "/v1/rollouts/{rollout}/events" in frame.client.get("/openapi.json").json()["paths"]


def test_metrics_are_prometheus_text_and_need_a_token(frame):
    assert frame.client.get("/metrics").status_code == 401
    text = frame.client.get("/metrics", headers=frame.token("read")).text
    assert "deployd_asks_waiting 0.0" in text
    assert "process_resident_memory_bytes" in text
