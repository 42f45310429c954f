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
    return services.call((verb, "a", "b"), stdin=None, timeout=20, cancel=None)


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


def test_a_helper_that_cannot_begin_is_called_anew_for_what_it_says() -> None:
    """No sudo, no Python: the far side ends before any reply, and what it wrote says why."""
    stream = FakeStream(answer=lambda _: None)
    stream.exit_code = 126
    assert asked(Services(lambda: stream, most=1)) is None


def test_when_all_are_busy_the_helper_is_called_anew() -> None:
    inner: list[object] = []

    def nested(data: bytes) -> bytes:
        inner.append(asked(services))
        return answering(data)

    services = Services(lambda: FakeStream(answer=nested), most=1)
    assert asked(services)
    assert inner == [None]


HOLD = ("hold", "shop", "production")
DOCUMENT = b'{"owner": "ada", "rollout": "r-1"}\n'


class Host:
    """The far side of served calls: `lines` are the verbs that came, `locked` is what it says of its lock."""

    def __init__(self, *, locked: bool = False, old: bool = False) -> None:
        self.lines: list[tuple[str, ...]] = []
        self.alone: list[FakeStream] = []
        self.locked, self.old = locked, old
        self.streams: list[FakeStream] = []
        self.services = Services(self._serve, most=2)

    def _serve(self) -> FakeStream:
        self.streams.append(FakeStream(answer=self._answer))
        return self.streams[-1]

    def _answer(self, data: bytes) -> bytes:
        argv = tuple(json.loads(data)["argv"])
        self.lines.append(argv)
        reply = {"ok": True, "verb": argv[0], "epoch": len(self.lines)}
        if argv[0] == "hold" and (self.locked or self.old):
            reply = {"ok": False, "code": "bad-request" if self.old else "lock-held", "what": "no", "details": None}
        return json.dumps({"exit": 0 if reply["ok"] else 1, "reply": reply}).encode() + b"\n"

    def by_itself(self) -> FakeStream:
        self.alone.append(FakeStream(answer=lambda _: b'{"ok": true, "epoch": 99}\n'))
        return self.alone[-1]

    def hold(self):
        held = self.services.hold(HOLD, self.by_itself)
        assert held is not None
        held.write(DOCUMENT)
        return held, json.loads(next(iter(held.lines(timeout=20))))


def test_a_lock_is_held_over_a_served_call_that_is_free_again_afterwards() -> None:
    host = Host()
    asked(host.services)
    held, reply = host.hold()
    assert (reply["ok"], held.alive, host.alone) == (True, True, [])
    asked(host.services)  # a second one, while the first holds
    assert len(host.streams) == 2
    held.end_input()
    held.close()
    assert not held.alive
    assert [argv[0] for argv in host.lines] == ["status", "hold", "status", "let-go"]
    for _ in range(4):  # the reply to `let-go` is nobody's: each verb gets its own
        found = asked(host.services, "flip")
        assert found is not None
        assert found.document is not None
        assert found.document["verb"] == "flip"
    assert len(host.streams) == 2


def test_a_lock_that_another_has_leaves_the_served_call_to_others() -> None:
    host = Host(locked=True)
    held, reply = host.hold()
    assert reply["code"] == "lock-held"
    held.close()
    assert [argv[0] for argv in host.lines] == ["hold"]
    assert asked(host.services)
    assert len(host.streams) == 1


def test_a_helper_of_before_holds_by_itself() -> None:
    host = Host(old=True)
    held, reply = host.hold()
    assert (reply["epoch"], host.alone[0].written) == (99, DOCUMENT)
    assert held.alive
    held.close()
    assert host.alone[0].closed


def test_a_served_call_whose_hold_was_not_answered_is_not_used_again() -> None:
    host = Host()
    asked(host.services)
    held = host.services.hold(HOLD, host.by_itself)
    assert held is not None
    host.streams[0].answer = None  # silence
    host.streams[0].dead = False
    held._asking = True  # as when the time limit or a Ctrl-C ended the wait
    held.close()
    assert host.streams[0].closed
    assert asked(host.services)
    assert len(host.streams) == 2


def test_what_waits_with_a_parked_connection_is_used_again_and_replaced_when_it_ended_unseen() -> None:
    host = Host()
    asked(host.services)
    held, _ = host.hold()
    assert host.services.park() == 0, "one that holds a lock is not idle"
    held.close()
    assert host.services.park() == 1
    assert asked(host.services)
    assert len(host.streams) == 1
    host.services.park()
    host.streams[0].answer = lambda _: None  # another helper was installed, and it ended
    assert asked(host.services) is None, "it is called anew"
    host.services.park()
    held, reply = host.hold()
    assert reply["ok"]
    assert len(host.streams) == 2
