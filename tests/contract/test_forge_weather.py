"""Forges and chat services in bad weather, over real HTTP: limits, silence, news out of order, deleted comments."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from deployd.daemon import previews
from deployd.daemon.background import Background, GiveUpError
from deployd.daemon.forges import leaving, speaking
from deployd.daemon.hub import Told
from deployd.domain.ids import EnvironmentName
from deployd.domain.secret import Secret
from deployd.rollouts import values
from tests.contract.fakeforge import FakeForge
from tests.contract.test_forges import (
    COMMIT,
    RELEASE,
    SHOP,
    TOKEN,
    add_rollout,
    announcer,
    ask,
    daemon,
    forge,
    pull,
    said,
    settle,
    tell,
    token,
)

__all__ = ["announcer", "daemon", "forge"]


@pytest.mark.parametrize(
    "answer",
    [
        (429, {}, {"retry-after": "1"}),
        (403, {}, {"retry-after": "1"}),
        (403, {}, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "{soon}"}),
        (503, {}, {"retry-after": "1"}),
    ],
)
def test_a_forge_that_names_a_pause_gets_it(daemon, announcer, forge, answer):
    token(daemon, "gitea", forge)
    status, body, headers = answer
    soon = str(int(time.time()) + 2)
    forge.answers = [(status, body, {name: value.format(soon=soon) for name, value in headers.items()})]
    began = time.monotonic()
    tell(announcer, ask(daemon, "gitea"), "live")
    assert [one.body["state"] for one in forge.requests] == ["success", "success"]
    assert time.monotonic() - began >= 0.9


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_a_refusal_is_final_and_its_log_line_has_no_token(daemon, announcer, forge, status, caplog):
    token(daemon, "gitea", forge)
    forge.always = (status, {"message": f"bad token {TOKEN}"})
    with caplog.at_level(logging.DEBUG):
        tell(announcer, ask(daemon, "gitea"), "live")
    assert len(forge.requests) == 1
    assert TOKEN not in caplog.text


def test_a_silent_forge_is_left_after_a_while_and_asked_again(daemon, announcer, forge, monkeypatch):
    monkeypatch.setattr(speaking, "_SECONDS", 0.2)
    token(daemon, "gitea", forge)
    forge.pause = 1.0
    tell(announcer, ask(daemon, "gitea"), "live")
    deadline = time.monotonic() + 20
    while len(forge.requests) < 4 and time.monotonic() < deadline:  # what it read too late for us
        time.sleep(0.02)
    assert len(forge.requests) == 4


def test_an_answer_that_is_no_json_is_no_trouble(daemon, announcer, forge, monkeypatch):
    token(daemon, "github", forge)
    forge.always = (200, ["a list"])
    tell(announcer, ask(daemon, "github"), "live")
    paths = [path for _, path, _ in said(forge)]
    assert paths == [f"/repos/acme/shop/statuses/{COMMIT}", "/repos/acme/shop/deployments"]


def test_old_news_that_waited_for_another_try_do_not_come_after_newer(daemon, announcer, forge):
    token(daemon, "gitea", forge)
    announcer.forges = Background("forges", pauses=(60.0,))
    forge.answers = [(500, {})]
    rollout = ask(daemon, "gitea")
    announcer.hear(Told(rollout=rollout, event="rollout_started", fields={}))
    deadline = time.monotonic() + 20
    while not forge.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    announcer.hear(Told(rollout=rollout, event="rollout_finished", fields={"outcome": "live", "release": RELEASE}))
    settle(announcer)  # nothing waits for another try
    assert [one.body["state"] for one in forge.requests] == ["pending", "success"]
    announcer.forges.stop()


def test_of_one_key_the_newest_is_done_also_when_the_older_fails_meanwhile():
    jobs, done, begun, go = Background("t", pauses=(0.01, 0.01)), list[str](), threading.Event(), threading.Event()

    def older() -> None:
        begun.set()
        go.wait(10)
        done.append("older")
        raise ConnectionError

    jobs.add("older", older, key="k")
    assert begun.wait(10)
    jobs.add("newer", lambda: done.append("newer"), key="k")
    go.set()
    deadline = time.monotonic() + 10
    while not jobs.idle() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert done == ["older", "newer"]
    jobs.stop()


def test_a_queue_that_is_full_drops_and_goes_on():
    jobs, hold = Background("t", most=2, pauses=()), threading.Event()
    begun = threading.Event()

    def slow() -> None:
        begun.set()
        hold.wait(10)
        raise GiveUpError("no")

    jobs.add("first", slow)
    assert begun.wait(10)
    assert [jobs.add("more", lambda: None) for _ in range(4)] == [True, True, False, False]
    hold.set()
    jobs.stop(wait=10)
    assert jobs.idle()


def test_bitbucket_servers_comment_is_written_again_at_its_version(daemon, announcer, forge):
    token(daemon, "bitbucket-server", forge)
    daemon.store.previews.put(SHOP, 12, forge="bitbucket-server", pull={"commit": COMMIT}, state="asked")
    details = {"forge": "bitbucket-server", "repository": {"name": "ACME/shop"}, "number": 12}
    forge.always = (200, {"id": 7, "version": 3})
    for _ in range(2):
        rollout = ask(
            daemon, "bitbucket-server", environment="preview", cause="pull_request", activate=False,
            branch="pull/12", details=details,
        )  # fmt: skip
        tell(announcer, rollout, "prepared")
    where = "/projects/ACME/repos/shop/pull-requests/12/comments"
    comments = [(method, path, (body or {}).get("version")) for method, path, body in said(forge) if where in path]
    assert comments == [("POST", where, None), ("GET", f"{where}/7", None), ("PUT", f"{where}/7", 3)]


def test_a_comment_that_somebody_deleted_is_made_anew(daemon, announcer, forge):
    token(daemon, "github", forge)
    rollout = pull(daemon)
    daemon.store.previews.change(SHOP, 12, comment="5")
    forge.answers = [(201, {}), (201, {"id": 1}), (201, {}), (404, {}), (201, {"id": 9})]
    tell(announcer, rollout, "prepared")
    assert [method for method, path, _ in said(forge) if "comments" in path] == ["PATCH", "POST"]
    assert daemon.store.previews.find(SHOP, 12).comment == "9"


def test_a_forks_pull_request_is_told_to_wait(daemon, announcer, forge):
    token(daemon, "github", forge)
    rollout = pull(daemon, state="held")
    queued = daemon.store.queue.get(rollout)
    assert previews.is_held(daemon.store, queued.ask)
    tell(announcer, rollout, "ignored", release=None)
    ((_, status, body), (_, comment, text)) = said(forge)
    assert status.endswith(f"/statuses/{COMMIT}")
    assert (body["state"], body["context"]) == ("pending", "deployd/shop/preview")
    assert "deployd approve pull/12" in body["description"]
    assert comment.endswith("/issues/12/comments")
    assert "deployd approve pull/12" in text["body"]


def test_what_failed_before_it_was_a_rollout_is_told_with_its_reason(daemon, announcer, forge):
    address = Secret(f"json://{forge.url.removeprefix('http://')}/chat")
    daemon.store.secrets.put("notify", app="", name="chat", value=address, who="t", extra={"events": []})
    token(daemon, "github", forge)
    rollout = ask(daemon, "github", environment="")
    from deployd.errors import ConfigError

    error = values.error_to_json(ConfigError("deployd.toml is not TOML", fix="correct that line"))
    daemon.store.queue.finish(rollout, outcome="failed", reason="deployd.toml is not TOML", error=error)
    tell(announcer, rollout, "failed", release=None, what="deployd.toml is not TOML")
    (note,) = [body for _, path, body in said(forge) if path == "/chat"]
    assert note["title"] == "shop: the rollout failed"
    assert note["message"].splitlines()[1:3] == ["deployd.toml is not TOML", "correct that line"]
    assert not [path for _, path, _ in said(forge) if "deployments" in path]  # it was for no environment yet


def test_a_person_is_told_where_it_is_live_and_when_somebody_must_approve(daemon, announcer, forge):
    address = Secret(f"json://{forge.url.removeprefix('http://')}/chat")
    daemon.store.secrets.put("notify", app="", name="chat", value=address, who="t", extra={"events": []})
    for outcome in ("live", "waiting"):
        rollout = ask(daemon, "none")
        wish = {"options": {"run": {"domains": ["*.shop.example", "shop.example"]}}}
        daemon.store.rollouts.add(
            rollout, kind="release", app=SHOP, environment=EnvironmentName("production"), who="anna", wish=wish,
            owner="t", state="building",
        )  # fmt: skip
        tell(announcer, rollout, outcome)
    live, waiting = (one.body for one in forge.requests)
    assert "https://shop.example\n" in live["message"]
    assert waiting["title"] == f"shop production: {RELEASE} waits for an approval"
    assert waiting["type"] == "warning"


def test_services_that_fail_or_hang_delay_no_event(daemon, announcer):
    address = Secret(f"json://me:{TOKEN}@127.0.0.1:1/chat")
    for name in ("one", "two"):
        daemon.store.secrets.put("notify", app="", name=name, value=address, who="t", extra={"events": []})
    rollout = ask(daemon, "none")
    add_rollout(daemon, rollout)
    began = time.monotonic()
    announcer.hear(Told(rollout=rollout, event="rollout_finished", fields={"outcome": "live", "release": RELEASE}))
    assert time.monotonic() - began < 10
    settle(announcer)


def test_a_removed_previews_comment_says_so(daemon, forge):
    token(daemon, "github", forge)
    daemon.store.previews.put(SHOP, 12, forge="github", pull={"repository": {"name": "acme/shop"}}, state="closed")
    daemon.store.previews.change(SHOP, 12, comment="5")
    previews.Reconciler().tidy(daemon)
    ((method, path, body),) = said(forge)
    assert (method, path) == ("PATCH", "/repos/acme/shop/issues/comments/5")
    assert "was removed" in body["body"]
    forge.requests.clear()
    forge.answers = [(200, [{"id": 1}, {"id": 2}])]
    leaving.deactivate(daemon.store, daemon.store.previews.find(SHOP, 12), COMMIT)
    asked, *told = said(forge)
    assert asked == ("GET", f"/repos/acme/shop/deployments?environment=shop%2Fpreview&ref={COMMIT}", None)
    assert [(path, body["state"]) for _, path, body in told] == [
        (f"/repos/acme/shop/deployments/{number}/statuses", "inactive") for number in (1, 2)
    ]
    with FakeForge() as other:
        other.always = (500, {})
        token(daemon, "github", other)
        daemon.store.previews.change(SHOP, 12, state="closed")
        previews.Reconciler().tidy(daemon)
    assert daemon.store.previews.find(SHOP, 12).state == "gone"
