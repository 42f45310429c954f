"""The typed helper on transports that run without a host: replies, refusals, a wire that breaks."""

from __future__ import annotations

import json
import pickle

import pytest

from deployd.domain.ids import AppName, EnvironmentName, ReleaseId
from deployd.domain.options import Probe
from deployd.domain.secret import Secret
from deployd.errors import HostError, HostLockedError, ProbeError, UnreachableError
from deployd.hosts import refusals
from deployd.hosts.helper import Helper
from deployd.hosts.transport import UNKNOWN, Reply
from tests.unit.hosts.fakes import WEB1, FakeStream, FakeTransport

APP = AppName.parse("shop")
ENVIRONMENT = EnvironmentName.parse("production")
RELEASE = ReleaseId.parse("20261121-101530-3fa9c01-aaaa")
STATUS = {"current": RELEASE, "epoch": 3, "since": 5.0, "config": {}, "releases": [], "lock": {"held": False}}


def refusing(code: str, **more: object) -> Helper:
    reply = {"ok": False, "code": code, "what": "it is so", "fix": "do this", "details": None, "live": RELEASE} | more
    return Helper(FakeTransport(lambda *_: Reply(1, json.dumps(reply).encode(), b"")))


@pytest.mark.parametrize(
    ("code", "kind", "exit_code"),
    [("lock-held", HostLockedError, 4), ("probe-failed", ProbeError, 1), ("fenced", HostError, 1)],
)
def test_a_refusal_is_an_error_with_host_live_and_fix(code: str, kind: type[HostError], exit_code: int) -> None:
    with pytest.raises(kind) as caught:
        refusing(code, details={"owner": "anna"}).start(APP, ENVIRONMENT, RELEASE)
    error = caught.value
    assert (error.code, error.host, error.live, error.fix, error.exit_code) == (
        code,
        WEB1,
        RELEASE,
        "do this",
        exit_code,
    )
    assert pickle.loads(pickle.dumps(error)).fields() == error.fields()


def test_nothing_live_is_said_so() -> None:
    with pytest.raises(HostError) as caught:
        refusing("disk-full", live=None).start(APP, ENVIRONMENT, RELEASE)
    assert caught.value.live == refusals.NOTHING_LIVE
    with pytest.raises(HostError) as caught:
        refusing("current-not-link", live=None).start(APP, ENVIRONMENT, RELEASE)
    assert caught.value.live == refusals.NO_LINK


def test_a_failed_probe_shows_all_it_saw() -> None:
    details = {
        "address": "unix:/run/x.sock /health", "attempts": 12, "last_status": 500, "last_error": "status 500",
        "waited_s": 3.2, "log": ["Error: no database", "at line 1"], "exited": True, "restarts": 4,
    }  # fmt: skip
    with pytest.raises(ProbeError) as caught:
        refusing("probe-failed", details=details).probe(APP, ENVIRONMENT, RELEASE, probe=Probe())
    shown = caught.value.details or ""
    assert "status 500, status 500" not in shown
    for part in ("/health", "12 attempts", "status 500", "3.2 s", "Error: no database", "started again 4 times"):
        assert part in shown


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(127, b"", b"not found"), "helper-missing"),
        (Reply(1, b"Traceback ...", b""), "helper-reply"),
        (Reply(0, b"[]", b""), "helper-reply"),
        (Reply(0, b'{"ok": true}', b""), "helper-reply"),
        (Reply(UNKNOWN, b"", b""), "connection-lost"),
    ],
)
def test_what_is_no_reply_says_what_to_do(reply: Reply, code: str) -> None:
    with pytest.raises(HostError) as caught:
        Helper(FakeTransport(lambda *_: reply)).status(APP, ENVIRONMENT)
    assert caught.value.code == code
    assert caught.value.fix
    assert caught.value.live
    assert caught.value.host == WEB1


def test_a_broken_wire_says_what_was_live_when_last_asked() -> None:
    answers = iter([STATUS, Reply(UNKNOWN, b"", b"")])
    helper = Helper(FakeTransport(lambda *_: next(answers)))
    assert helper.status(APP, ENVIRONMENT).current == RELEASE
    with pytest.raises(UnreachableError) as caught:
        helper.flip(APP, ENVIRONMENT, RELEASE, expect=None, epoch=1)
    assert caught.value.live == f"{RELEASE} when last asked"
    assert caught.value.exit_code == 6
    assert caught.value.retryable


def test_an_old_helper_is_named() -> None:
    facts = {
        "helper": 0, "os": "debian", "cpu": "x64", "libc": "glibc", "cores": 2, "memory": 1, "disk_free": 1,
        "time": 1.0,
    }  # fmt: skip
    with pytest.raises(HostError, match="version 0") as caught:
        Helper(FakeTransport(lambda *_: facts)).facts()
    assert caught.value.code == "helper-old"


def test_variables_go_by_stdin_and_never_in_argv() -> None:
    seen = []
    transport = FakeTransport(lambda _argv, document: seen.append(document) or {})
    Helper(transport).env(APP, ENVIRONMENT, RELEASE, variables={"KEY": Secret("canary")})
    assert seen == [{"variables": {"KEY": "canary"}}]
    assert "canary" not in str(transport.calls)


def test_a_lease_is_lost_with_its_stream() -> None:
    transport = FakeTransport()
    stream = FakeStream([b'{"ok": true, "epoch": 4, "current": null}\n'])
    transport.streams = [stream]
    lease = Helper(transport).hold(APP, ENVIRONMENT, owner="anna", rollout="r-1")
    assert json.loads(stream.written) == {"owner": "anna", "rollout": "r-1"}
    assert (lease.epoch, lease.current, lease.lost) == (4, None, False)
    stream.dead = True
    assert lease.lost
    lease.close()
    assert stream.closed


def test_a_lock_that_is_held_closes_the_stream() -> None:
    transport = FakeTransport()
    stream = FakeStream([b'{"ok": false, "code": "lock-held", "what": "held by ben", "fix": "wait"}\n'])
    transport.streams = [stream]
    with pytest.raises(HostLockedError, match="held by ben"):
        Helper(transport).hold(APP, ENVIRONMENT, owner="anna", rollout="r-1")
    assert stream.closed


def test_logs_are_read_and_the_stream_closed() -> None:
    transport = FakeTransport()
    line = {"time": 1.5, "release": RELEASE, "instance": 1, "message": "hello", "stream": "app"}
    stream = FakeStream([json.dumps(line).encode() + b"\n"])
    stream.exit_code = 0
    transport.streams = [stream]
    found = list(Helper(transport).logs(APP, ENVIRONMENT))
    assert [(one.host, one.message, one.instance) for one in found] == [(WEB1, "hello", 1)]
    assert stream.closed
