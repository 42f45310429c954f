"""The flip over hosts that fail in their own ways: outcomes, and what is asked again."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from deployd.domain.events import Event
from deployd.domain.ids import AppName, EnvironmentName, ReleaseId
from deployd.domain.options import Probe, Run
from deployd.domain.secret import Secret
from deployd.errors import CancelledError, HostError, UnreachableError
from deployd.hosts.pool import Pool
from deployd.hosts.transport import UNKNOWN, Reply
from deployd.stages import activate
from tests.unit.hosts.fakes import WEB1, WEB2, FakeTransport

APP, ENVIRONMENT = AppName.parse("shop"), EnvironmentName.parse("production")
OLD = ReleaseId.parse("20261120-101530-3fa9c01-aaaa")
NEW = ReleaseId.parse("20261121-101530-3fa9c01-bbbb")
LOST = Reply(UNKNOWN, b"", b"")
EPOCHS = {WEB1: 3, WEB2: 4}


def flipped(at: float, *, already: bool = False) -> dict[str, Any]:
    return {"previous": OLD, "current": NEW, "at": at, "flip_us": 40, "already": already}


def fleet(one: list[Any], two: list[Any]) -> tuple[Pool, FakeTransport, FakeTransport]:
    first = FakeTransport(lambda *_: one.pop(0), name=WEB1)
    second = FakeTransport(lambda *_: two.pop(0), name=WEB2)
    return Pool.of({WEB1: first, WEB2: second}), first, second


def flip(pool: Pool, heard: list[Any] | None = None) -> dict[Any, Any]:
    told = [] if heard is None else heard
    return activate.flip(
        pool, {WEB1: OLD, WEB2: None}, app=APP, environment=ENVIRONMENT, release=NEW, epochs=EPOCHS,
        report=lambda event, **fields: told.append((event, fields["host"])),
    )  # fmt: skip


def test_each_host_gets_its_own_expectation_and_epoch() -> None:
    pool, one, two = fleet([flipped(10.0)], [flipped(10.25)])
    heard: list[Any] = []
    outcomes = flip(pool, heard)
    assert one.calls == [("flip", APP, ENVIRONMENT, NEW, "--expect", OLD, "--epoch", "3")]
    assert two.calls == [("flip", APP, ENVIRONMENT, NEW, "--expect", "none", "--epoch", "4")]
    assert activate.spread(outcomes) == 0.25
    assert heard == [(Event.RELEASE_FLIPPED, WEB1), (Event.RELEASE_FLIPPED, WEB2)]


def test_a_wire_that_breaks_in_the_flip_is_asked_again() -> None:
    pool, one, _ = fleet([LOST, flipped(10.0, already=True)], [flipped(10.0)])
    outcomes = flip(pool)
    assert outcomes[WEB1].already
    assert len(one.calls) == 2


def test_a_host_that_is_gone_in_the_flip_is_unknown() -> None:
    pool, one, _ = fleet([LOST], [flipped(10.0)])
    connect = one.connect

    def once() -> None:
        if one.connects:
            one.connect_error = UnreachableError("down", fix="start it")
        connect()

    one.connect = once  # type: ignore[method-assign]
    outcomes = flip(pool)
    assert isinstance(outcomes[WEB1], UnreachableError)
    assert outcomes[WEB1].code == "connection-lost"
    assert outcomes[WEB2].current == NEW
    assert activate.spread(outcomes) == 0.0


def test_a_refusal_is_an_outcome_and_not_tried_again() -> None:
    refusal = Reply(1, b'{"ok": false, "code": "fenced", "what": "w", "fix": "f", "live": null}', b"")
    pool, one, _ = fleet([refusal], [flipped(10.0)])
    outcomes = flip(pool)
    assert isinstance(outcomes[WEB1], HostError)
    assert outcomes[WEB1].code == "fenced"
    assert len(one.calls) == 1


def test_flipping_back_says_where_to() -> None:
    pool, one, two = fleet([flipped(1.0)], [flipped(1.0)])
    activate.flip_back(pool, {WEB1: OLD, WEB2: None}, app=APP, environment=ENVIRONMENT, epochs=EPOCHS)
    assert one.calls == [("unflip", APP, ENVIRONMENT, "--to", OLD, "--epoch", "3")]
    assert two.calls == [("unflip", APP, ENVIRONMENT, "--to", "none", "--epoch", "4")]


def test_nothing_flipped_has_no_spread() -> None:
    assert activate.spread({}) is None


PROBED = {"attempts": 2, "waited_s": 0.5, "status": 200, "first_byte_ms": 1.5, "warmed": []}


def prepare(pool: Pool, *, cancel: threading.Event | None = None, **more: Any) -> activate.Prepared:
    options = {"run": Run(), "probe": Probe(), "variables": {"A": Secret("b")}} | more
    return activate.prepare(pool, WEB1, app=APP, environment=ENVIRONMENT, release=NEW, cancel=cancel, **options)


def test_preparing_configures_then_writes_variables_then_starts_then_probes() -> None:
    replies = {"configure": {"changed": []}, "env": {}, "start": {}, "probe": PROBED}
    transport = FakeTransport(lambda argv, _: replies[argv[0]])
    pool = Pool.of({WEB1: transport})
    assert prepare(pool).attempts == 2
    assert [call[0] for call in transport.calls] == ["configure", "env", "start", "probe"]
    transport.calls.clear()
    prepare(pool, run=None, variables=None)
    assert [call[0] for call in transport.calls] == ["start", "probe"]


def test_a_cancel_is_seen_between_the_verbs() -> None:
    cancel = threading.Event()
    transport = FakeTransport(lambda argv, _: cancel.set() or {"changed": []} if argv[0] == "configure" else {})
    with pytest.raises(CancelledError):
        prepare(Pool.of({WEB1: transport}), cancel=cancel)
    assert "start" not in [call[0] for call in transport.calls]


def test_draining_stops_the_old_and_nothing_where_there_was_none() -> None:
    pool, one, two = fleet([{}], [])
    assert activate.drain(pool, {WEB1: OLD, WEB2: None}, app=APP, environment=ENVIRONMENT) == {WEB1: True, WEB2: False}
    assert one.calls == [("stop", APP, ENVIRONMENT, OLD)]
    assert not two.calls


def test_the_probe_through_the_web_server_is_told() -> None:
    pool, _, _ = fleet([PROBED], [PROBED])
    heard: list[Any] = []
    activate.probe_web(
        pool, [WEB1, WEB2], app=APP, environment=ENVIRONMENT, release=NEW, probe=Probe(),
        report=lambda event, **fields: heard.append((event, fields["through"])),
    )  # fmt: skip
    assert heard == [(Event.PROBE_ANSWERED, "web")] * 2
