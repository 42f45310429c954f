"""Served verbs: one open call used again, and what happens when it ends."""

from __future__ import annotations

import json

from deployd.hosts.serve import Services
from deployd.hosts.transport import UNKNOWN
from tests.unit.hosts.fakes import FakeStream


def answering(data: bytes) -> bytes:
    argv = json.loads(data)["argv"]
    return json.dumps({"exit": 0, "reply": {"ok": True, "verb": argv[0]}}).encode() + b"\n"


def asked(services: Services, verb: str = "status"):
    return services.call((verb, "a", "b"), stdin=None, timeout=1, cancel=None)


def test_one_open_call_serves_many_verbs() -> None:
    opened = [FakeStream(answer=answering)]
    services = Services(opened.pop, most=3)
    services.warm()
    for verb in ("status", "flip"):
        reply = asked(services, verb)
        assert reply is not None
        assert (reply.exit, reply.document) == (0, {"ok": True, "verb": verb})
    assert not opened


def test_a_call_that_died_while_idle_is_replaced() -> None:
    first, second = FakeStream(answer=answering), FakeStream(answer=answering)
    opened = [first, second]
    services = Services(lambda: opened.pop(0), most=1)
    assert asked(services)
    first.dead = True
    assert asked(services)
    assert first.closed
    assert second.written


def test_a_wire_that_breaks_before_the_reply_is_unknown() -> None:
    services = Services(lambda: FakeStream(answer=lambda _: None), most=1)
    reply = asked(services)
    assert reply is not None
    assert (reply.exit, reply.document) == (UNKNOWN, None)
    assert asked(services) is not None, "the place is free again"


def test_a_helper_that_does_not_serve_is_called_anew() -> None:
    stream = FakeStream([b"sh: deployd-host: not found\n"])
    stream.exit_code = 127
    assert asked(Services(lambda: stream, most=1)) is None


def test_when_all_are_busy_the_helper_is_called_anew() -> None:
    inner: list[object] = []

    def nested(data: bytes) -> bytes:
        inner.append(asked(services))
        return answering(data)

    services = Services(lambda: FakeStream(answer=nested), most=1)
    assert asked(services)
    assert inner == [None]
