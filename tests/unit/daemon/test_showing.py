"""The page behind a status's link: for who has the link, and with nothing that only the operators may know."""

from __future__ import annotations

import pytest

from deployd.daemon import links
from deployd.daemon.forges import calls
from deployd.daemon.forges.calls import Standing
from deployd.domain.ask import Ask
from deployd.domain.ids import AppName, EnvironmentName, RolloutId
from deployd.errors import HostError
from deployd.rollouts import values
from deployd.store.events import StoredEvent
from deployd.store.moments import now

PLACE = {"app": AppName("shop"), "environment": EnvironmentName("production")}


@pytest.fixture
def asked(frame) -> RolloutId:
    frame.daemon.settings["public_url"] = "https://deployd.example/"
    ask = Ask(kind="release", cause="push", who="Ada <script>", commit="c" * 40, branch="<b>", automatic=True, **PLACE)
    return frame.daemon.ask(ask)[0]


def seen(frame, rollout, **query):
    return frame.client.get(f"/rollouts/{rollout}", params=query)


def test_the_link_shows_how_it_goes_without_a_token_and_is_looked_at_again_while_it_runs(frame, asked):
    address = links.page(frame.daemon, asked)
    assert address is not None
    assert address.startswith(f"https://deployd.example/rollouts/{asked}?key=")
    answer = frame.client.get(address.removeprefix("https://deployd.example"))
    assert answer.status_code == 200
    assert "release of shop production" in answer.text
    assert "waiting" in answer.text
    assert "cccccccccc<" in answer.text
    assert "http-equiv=refresh" in answer.text
    assert "&lt;b&gt;" in answer.text
    assert "<b>" not in answer.text
    assert answer.headers["x-robots-tag"] == "noindex"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_nobody_guesses_a_link_and_no_other_link_opens_it(frame, asked):
    other = frame.daemon.ask(Ask(kind="rollback", cause="person", who="ada", **PLACE))[0]
    address = links.page(frame.daemon, other)
    assert address is not None
    _, _, key = address.partition("?key=")
    answers = [seen(frame, asked), seen(frame, asked, key=""), seen(frame, asked, key=key), seen(frame, asked, key="ä")]
    answers.append(seen(frame, RolloutId.new(), key=key))
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1


def test_what_only_operators_may_know_is_not_on_it(frame, asked):
    store = frame.daemon.store
    store.rollouts.add(asked, kind="release", state="building", who="Ada", owner="1:2:b", wish={}, **PLACE)
    fields = {"stage": "build", "host": "web-secret", "line": "PASSWORD=hunter2"}
    told = ["stage_started", "build_output", "stage_finished"]
    more = [{}, {}, {"seconds": 1.234, "ok": False}]
    store.events.add(
        [StoredEvent(rollout=asked, seq=n + 1, time=now(), event=told[n], fields=fields | more[n]) for n in range(3)]
    )
    error = HostError("web-secret said hunter2", code="build-failed", host="web-secret", fix="look", details="hunter2")
    store.rollouts.finish(asked, state="failed", outcome="failed", result={}, error=values.error_to_json(error))
    address = links.page(frame.daemon, asked)
    assert address is not None
    text = frame.client.get(address.removeprefix("https://deployd.example")).text
    for part in ("failed", "build-failed", "1.2 s"):
        assert part in text
    for secret in ("web-secret", "hunter2", "Ada", "http-equiv"):
        assert secret not in text


def test_without_an_address_of_its_own_the_daemon_makes_no_link(frame):
    assert links.page(frame.daemon, "r-20261121-101530-k2x7ab") is None


@pytest.mark.parametrize(
    ("state", "leads_to"),
    [
        ("running", "the page"),
        ("failed", "the page"),
        ("live", "the site"),
        ("prepared", "the site"),
        ("stopped", "the page"),
    ],
)
def test_a_status_leads_to_the_site_once_it_is_there_and_to_the_page_before(state, leads_to):
    standing = Standing(
        app="shop", environment="production", repository="acme/shop", commit="c" * 40, state=state, text="x",
        url="https://shop.example", log_url="https://deployd.example/rollouts/r-1?key=k",
    )  # fmt: skip
    wanted = standing.url if leads_to == "the site" else standing.log_url
    for forge, name in (("github", "target_url"), ("gitlab", "target_url"), ("bitbucket", "url")):
        body = calls.status(forge, standing).body
        assert body is not None
        assert body[name] == wanted
