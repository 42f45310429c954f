"""What goes back to forges and to people, over real HTTP: method, path, token and body as their APIs have them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from deployd.daemon import links, previews, wiring
from deployd.daemon.announcing import Announcer
from deployd.daemon.hub import Told
from deployd.domain.ask import Ask
from deployd.domain.ids import AppName, EnvironmentName, RolloutId
from deployd.domain.secret import Secret
from deployd.paths import StatePaths
from deployd.rollouts import locks
from tests.contract.fakeforge import FakeForge

SHOP = AppName("shop")
COMMIT = "b" * 40
RELEASE = "20261121-101530-bbbbbbb-k2x7"
TOKEN = "canary-token-5d1"
SETTINGS = {"public_url": "https://deployd.example/", "preview_domain": "preview.example"}


@pytest.fixture
def forge():
    with FakeForge() as one:
        yield one


@pytest.fixture
def daemon(tmp_path):
    paths = StatePaths(tmp_path / "state").make()
    built = wiring.make(paths, dict(SETTINGS), folder=locks.folder_lock(paths))
    yield built
    built.store.close()


@pytest.fixture
def announcer(daemon):
    made = Announcer(pauses=(0.01, 0.02, 0.03))
    made.start(daemon)
    yield made
    made.stop()


def ask(daemon: Any, forge: str, *, environment: str = "production", **changes: Any) -> RolloutId:
    details = {"forge": forge, "repository": "acme/shop", "delivery": "d"}
    fields: dict[str, Any] = {
        "kind": "release",
        "app": SHOP,
        "environment": EnvironmentName(environment),
        "cause": "push",
        "who": "anna",
        "commit": COMMIT,
        "branch": "main",
        "automatic": True,
        "details": details,
        **changes,
    }
    wish = {"options": {"run": {"domains": ["*.shop.example", "shop.example"]}}}
    return daemon.ask(Ask(**fields), wish=wish)[0]


def token(daemon: Any, name: str, forge: FakeForge, *, app: str = "") -> None:
    daemon.store.secrets.put(
        "forge", app=app, name=name, value=Secret(TOKEN), who="t", extra={"url": f"{forge.url}/api"}
    )


def tell(announcer: Announcer, rollout: RolloutId, *outcomes: str, **fields: Any) -> None:
    for outcome in outcomes:
        event = "rollout_started" if outcome == "started" else "rollout_finished"
        told = {"outcome": outcome, "release": RELEASE, **fields} if outcome != "started" else {}
        announcer.hear(Told(rollout=rollout, event=event, fields=told))
        settle(announcer)


def settle(announcer: Announcer) -> None:
    deadline = time.monotonic() + 60
    while not (announcer.forges.idle() and announcer.notes.idle()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def said(forge: FakeForge) -> list[tuple[str, str, Any]]:
    return [(one.method, one.path.removeprefix("/api"), one.body) for one in forge.requests]


def test_github_gets_a_status_and_a_deployment(daemon, announcer, forge):
    token(daemon, "github", forge)
    rollout = ask(daemon, "github")
    log = links.page(daemon, rollout)
    assert log is not None
    assert log.startswith(f"https://deployd.example/rollouts/{rollout}?key=")
    tell(announcer, rollout, "started", "live")
    status = {"context": "deployd/shop/production", "target_url": log}
    assert said(forge) == [
        ("POST", f"/repos/acme/shop/statuses/{COMMIT}", status | {"state": "pending", "description": "production is being released"}),
        (
            "POST",
            "/repos/acme/shop/deployments",
            {
                "ref": COMMIT,
                "environment": "shop/production",
                "description": "deployd: shop production",
                "auto_merge": False,
                "required_contexts": [],
                "transient_environment": False,
                "production_environment": True,
            },
        ),
        (
            "POST",
            "/repos/acme/shop/deployments/77/statuses",
            {"state": "in_progress", "log_url": log, "description": "production is being released"},
        ),
        ("POST", f"/repos/acme/shop/statuses/{COMMIT}", status | {"target_url": "https://shop.example", "state": "success", "description": "production is live"}),
        (
            "POST",
            "/repos/acme/shop/deployments/77/statuses",
            {"state": "success", "log_url": log, "environment_url": "https://shop.example", "description": "production is live"},
        ),
    ]  # fmt: skip
    headers = forge.requests[0].headers
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["x-github-api-version"] == "2022-11-28"


@pytest.mark.parametrize(
    "expected",
    [
        (
            "gitlab",
            f"/projects/acme%2Fshop/statuses/{COMMIT}",
            ("private-token", TOKEN),
            {"state": "failed", "name": "deployd/shop/production"},
        ),
        (
            "gitea",
            f"/repos/acme/shop/statuses/{COMMIT}",
            ("authorization", f"token {TOKEN}"),
            {"state": "failure", "context": "deployd/shop/production"},
        ),
        (
            "bitbucket",
            f"/repositories/acme/shop/commit/{COMMIT}/statuses/build",
            ("authorization", f"Bearer {TOKEN}"),
            {"state": "FAILED", "key": "deployd/shop/production"},
        ),
        (
            "bitbucket-server",
            f"/projects/acme/repos/shop/commits/{COMMIT}/builds",
            ("authorization", f"Bearer {TOKEN}"),
            {"state": "FAILED", "key": "deployd/shop/production"},
        ),
    ],
)
def test_other_forges_get_a_status_in_their_words(daemon, announcer, forge, expected):
    name, path, header, body = expected
    token(daemon, name, forge)
    tell(announcer, ask(daemon, name), "failed", release=None)
    ((method, found, sent),) = said(forge)
    assert (method, found) == ("POST", path)
    assert forge.requests[0].headers[header[0]] == header[1]
    assert sent.items() >= body.items()
    assert sent["description"].startswith("production failed")


def test_an_apps_own_token_wins_and_without_one_nothing_is_said(daemon, announcer, forge):
    tell(announcer, ask(daemon, "gitea"), "live")
    assert forge.requests == []
    daemon.store.secrets.put(
        "forge", app="", name="gitea", value=Secret("x"), who="t", extra={"url": "http://127.0.0.1:1"}
    )
    token(daemon, "gitea", forge, app="shop")
    tell(announcer, ask(daemon, "gitea"), "live")
    assert len(forge.requests) == 1


def test_a_forge_that_fails_is_asked_again_and_then_left_alone(daemon, announcer, forge):
    token(daemon, "gitea", forge)
    forge.answers = [(503, {}), (429, {}), (201, {})]
    tell(announcer, ask(daemon, "gitea"), "live")
    assert len(forge.requests) == 3
    forge.requests.clear()
    forge.always = (500, {})
    tell(announcer, ask(daemon, "gitea"), "live")
    assert len(forge.requests) == 4  # once, and three tries more
    forge.requests.clear()
    forge.always = (401, {})
    tell(announcer, ask(daemon, "gitea"), "live")
    assert len(forge.requests) == 1


def test_a_token_does_not_follow_a_redirect(daemon, announcer, forge):
    token(daemon, "gitea", forge)
    forge.always = (302, {})
    tell(announcer, ask(daemon, "gitea"), "live")
    assert len(forge.requests) == 1


def test_hearing_takes_no_time_though_the_forge_hangs(daemon, announcer):
    daemon.store.secrets.put(
        "forge", app="", name="gitea", value=Secret("x"), who="t", extra={"url": "http://127.0.0.1:1"}
    )
    rollout = ask(daemon, "gitea")
    began = time.monotonic()
    for _ in range(20):
        announcer.hear(Told(rollout=rollout, event="rollout_finished", fields={"outcome": "live"}))
    assert time.monotonic() - began < 5


def pull(daemon: Any, *, state: str = "asked") -> RolloutId:
    details = {
        "is": "PullRequest",
        "forge": "github",
        "repository": {"name": "acme/shop", "url": None},
        "number": 12,
        "title": "New prices",
        "commit": COMMIT,
        "ref": "refs/pull/12/head",
        "fork": False,
    }
    daemon.store.previews.put(SHOP, 12, forge="github", pull=details, state=state)
    return ask(
        daemon, "github", environment="preview", cause="pull_request", branch="pull/12", activate=False, details=details
    )


def test_a_pull_request_gets_one_comment_which_is_written_again(daemon, announcer, forge):
    token(daemon, "github", forge)
    tell(announcer, pull(daemon), "prepared")
    tell(announcer, pull(daemon), "prepared")
    comments = [(method, path) for method, path, _ in said(forge) if "comments" in path]
    assert comments == [
        ("POST", "/repos/acme/shop/issues/12/comments"),
        ("PATCH", "/repos/acme/shop/issues/comments/77"),
    ]
    text = next(body["body"] for _, path, body in said(forge) if path.endswith("/12/comments"))
    assert f"https://{RELEASE}.shop.preview.example" in text
    kept = daemon.store.previews.find(SHOP, 12)
    assert (kept.state, kept.release, kept.address) == ("ready", RELEASE, f"https://{RELEASE}.shop.preview.example")
    status = [body for _, path, body in said(forge) if "/statuses/" in path and "deployments" not in path]
    assert status[-1]["context"] == "deployd/shop/preview"


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ((200, {"state": "closed"}), "gone"),
        ((200, {"state": "open"}), "ready"),
        ((500, {}), "ready"),
        ((404, {}), "ready"),
    ],
)
def test_a_pull_request_that_was_closed_without_a_word_is_found(daemon, forge, answer, state):
    token(daemon, "github", forge)
    daemon.store.previews.put(SHOP, 12, forge="github", pull={"repository": {"name": "acme/shop"}}, state="ready")
    forge.always = answer
    previews.Reconciler().look(daemon)
    assert said(forge) == [("GET", "/repos/acme/shop/pulls/12", None)]
    assert daemon.store.previews.find(SHOP, 12).state == state


def test_a_preview_that_is_too_old_goes_without_a_forge(daemon):
    daemon.store.previews.put(SHOP, 12, forge="github", pull={"keep": 1e-6}, state="ready")
    daemon.store.previews.put(SHOP, 13, forge="github", pull={"keep": 1000.0}, state="ready")
    previews.Reconciler().look(daemon)
    assert [one.number for one in daemon.store.previews.all()] == [13]


def test_how_it_ended_is_told_again_after_a_start_that_came_too_soon(daemon, forge):
    """Killed between a rollout's end and the forge's answer: its status said pending, and its preview was nowhere."""
    token(daemon, "github", forge)
    forge.always = (200, [{"id": 77}])
    pushed, prepared = ask(daemon, "github"), pull(daemon)
    for rollout, outcome in ((pushed, "failed"), (prepared, "cancelled"), (ask(daemon, "github"), None)):
        if outcome:
            daemon.store.queue.finish(rollout, outcome=outcome, reason="so it is")
    for _ in range(2):
        announcer = Announcer(pauses=(0.01,))
        announcer.start(daemon)
        settle(announcer)
        announcer.stop()
    told = [(method, path, (body or {}).get("state")) for method, path, body in said(forge)]
    failed = [
        ("POST", f"/repos/acme/shop/statuses/{COMMIT}", "failure"),
        ("GET", f"/repos/acme/shop/deployments?environment=shop%2Fproduction&ref={COMMIT}", None),
        ("POST", "/repos/acme/shop/deployments/77/statuses", "failure"),
    ]
    assert [one for one in told if one in failed] == failed * 2
    assert ("POST", "/repos/acme/shop/deployments", None) not in told
    assert daemon.store.previews.find(SHOP, 12).state == "failed"
    assert [path for _, path, _ in told].count("/repos/acme/shop/issues/12/comments") == 1


def test_a_preview_is_removed_however_much_was_asked_since(daemon):
    pull(daemon, state="closed")
    mine = ask(daemon, "github", environment="preview", cause="pull_request", branch="pull/12", activate=False)
    for number in range(520):
        queue_one(daemon, number)
    gone = previews.remove(daemon, daemon.store.previews.find(SHOP, 12), gone=[])
    assert daemon.store.queue.get(mine).outcome == "cancelled"
    assert gone


def queue_one(daemon: Any, number: int) -> None:
    """A push that was for nothing, as those of every other branch of a repository are."""
    fields = {"kind": "release", "app": SHOP, "environment": EnvironmentName(""), "cause": "push", "who": "anna"}
    rollout, _ = daemon.store.queue.add(Ask(**fields, branch=f"b{number}", automatic=True))
    daemon.store.queue.finish(rollout, outcome="ignored")


def test_what_a_push_became_is_found_however_much_was_asked_since(daemon):
    mine = ask(daemon, "github", cause="push")
    second, _ = daemon.store.queue.add(Ask(
        kind="release", app=SHOP, environment=EnvironmentName("staging"), cause="push", who="anna", key=f"{mine}:staging",
    ))  # fmt: skip
    for number in range(110):
        queue_one(daemon, number)
    assert [one.id for one in daemon.store.queue.of_push(SHOP, mine)] == [mine, second]
    assert daemon.store.queue.of_push(AppName("other"), mine) == ()


def test_a_fork_is_approved_at_its_commit(daemon):
    pull(daemon, state="held")
    rollout = previews.approve(daemon, SHOP, 12, who="anna")
    assert daemon.store.previews.find(SHOP, 12).approved == COMMIT
    assert daemon.store.queue.get(rollout).ask.commit == COMMIT


# people


def add_rollout(daemon: Any, rollout: RolloutId, kind: str = "release") -> None:
    daemon.store.rollouts.add(
        rollout,
        kind=kind,
        app=SHOP,
        environment=EnvironmentName("production"),
        who="anna",
        wish={},
        owner="test",
        state="building",
    )


def test_people_are_told_by_what_they_asked_for(daemon, announcer, forge):
    address = Secret(f"json://me:{TOKEN}@{forge.url.removeprefix('http://')}/chat")
    daemon.store.secrets.put(
        "notify", app="", name="chat", value=address, who="t", extra={"events": ["live", "rolled_back"]}
    )
    daemon.store.secrets.put("notify", app="other", name="chat", value=address, who="t", extra={"events": []})
    rollout = ask(daemon, "github")
    add_rollout(daemon, rollout)
    tell(announcer, rollout, "started", "live")
    (request,) = forge.requests
    assert request.body["title"] == f"shop production: {RELEASE} is live"
    assert request.body["type"] == "success"
    assert str(links.page(daemon, rollout)) in request.body["message"]


def test_a_service_that_is_gone_fails_nothing(daemon, announcer, caplog):
    address = Secret(f"json://me:{TOKEN}@127.0.0.1:1/chat")
    daemon.store.secrets.put("notify", app="", name="chat", value=address, who="t", extra={"events": []})
    rollout = ask(daemon, "github")
    add_rollout(daemon, rollout)
    tell(announcer, rollout, "failed")
    assert TOKEN not in caplog.text
