"""Streams of events: any number to go on from, a token that ends meanwhile, and nothing that stays afterwards."""

from __future__ import annotations

import asyncio
import io
import json

import pytest

from deployd import logs
from deployd.daemon.api import revoking
from deployd.domain.ask import Ask
from deployd.domain.ids import AppName, EnvironmentName, RolloutId
from deployd.store import moments

PLACE = {"app": AppName("shop"), "environment": EnvironmentName("production")}


@pytest.fixture
def over(frame) -> RolloutId:
    rollout, _ = frame.daemon.ask(Ask(kind="release", cause="person", who="ada", **PLACE))
    frame.daemon.store.queue.finish(rollout, outcome="failed", reason="so it is")
    return rollout


@pytest.mark.parametrize("number", ["9" * 20, "18446744073709551616", "0", "-1", "1.5", "٣", "x", ""])
def test_whatever_a_reader_saw_last_the_stream_has_its_end(frame, over, number):
    headers = frame.token("read") | {"Last-Event-ID": number.encode()}
    answer = frame.client.get(f"/v1/rollouts/{over}/events", headers=headers)
    assert answer.status_code == 200
    assert json.loads(answer.text.rpartition("event: end\ndata: ")[2])["outcome"] == "failed"


def test_a_rollout_that_is_looked_at_afterwards_stays_in_no_memory(frame, over):
    for _ in range(3):
        frame.client.get(f"/v1/rollouts/{over}/events", headers=frame.token("read"))
    assert frame.daemon.hub._lines == {}


def ends_when(frame, over, *, ended, headers) -> list[bytes]:
    """What a reader of a rollout that waits gets, when `ended` happens after the first piece."""
    store, got = frame.daemon.store, []
    waiting, _ = frame.daemon.ask(Ask(kind="release", cause="person", who="ada", key="k", **PLACE))

    async def send(message):
        if message["type"] == "http.response.body":
            got.append(message.get("body", b""))
            if len(got) == 1:
                ended(store)
            elif not message.get("more_body"):
                stop.set()

    async def receive():
        await stop.wait()
        return {"type": "http.disconnect"}

    async def run():
        nonlocal stop
        stop = asyncio.Event()
        scope = {
            "type": "http", "method": "GET", "path": f"/v1/rollouts/{waiting}/events", "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("10.0.0.9", 1), "server": ("x", 1), "scheme": "https", "http_version": "1.1", "root_path": "",
            "raw_path": b"/", "asgi": {"version": "3.0", "spec_version": "2.3"},
        }  # fmt: skip
        async with asyncio.timeout(20):
            await frame.app(scope, receive, send)

    stop = asyncio.Event()
    assert over != waiting
    asyncio.run(run())
    return got


@pytest.mark.usefixtures("logs_as_before")
@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_token_that_ends_while_a_stream_goes_on_ends_the_stream(frame, over, monkeypatch, how):
    monkeypatch.setattr(revoking, "EVERY", 0.0)
    monkeypatch.setattr("deployd.daemon.api.streams._LOOK_EVERY", 0.05)
    seconds = moments.from_epoch(4e9)
    headers = frame.token("read", expires=seconds)
    token = frame.daemon.store.tokens.all()[0].id

    def end(store):
        if how == "revoked":
            store.tokens.revoke(token)
        else:
            monkeypatch.setattr("deployd.store.tokens.now", lambda: "2999-01-01T00:00:00.000Z")

    out = io.StringIO()
    logs.set_up(style="json", stream=out)
    got = ends_when(frame, over, ended=end, headers=headers)
    assert out.getvalue() == ""
    last = json.loads(got[-1].decode().rpartition("event: end\ndata: ")[2])
    assert last["error"]["fields"]["code"] == "token-invalid", last
    assert frame.client.get("/v1/me", headers=headers).status_code == 401
