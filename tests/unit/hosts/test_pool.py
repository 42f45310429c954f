"""Several hosts at once: outcomes by host, in order, and nothing lost."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from deployd.domain.host import Host
from deployd.domain.ids import HostName
from deployd.errors import HostError, NotFoundError, UnreachableError
from deployd.hosts.pool import Pool
from tests.unit.hosts.fakes import WEB1, WEB2, FakeTransport

if TYPE_CHECKING:
    from deployd.hosts.helper import Helper

DOWN = UnreachableError("web2 is down", fix="start it", host=WEB2)


def pool() -> tuple[Pool, FakeTransport, FakeTransport]:
    one, two = FakeTransport(name=WEB1), FakeTransport(name=WEB2)
    return Pool.of({WEB1: one, WEB2: two}), one, two


def test_outcomes_are_values_in_the_order_asked() -> None:
    made, _, two = pool()
    two.connect_error = DOWN
    outcomes = made.each([WEB2, WEB1], lambda helper: helper.name)
    assert list(outcomes) == [WEB2, WEB1]
    assert outcomes == {WEB2: DOWN, WEB1: WEB1}
    assert made.connect_all() == {WEB1: None, WEB2: DOWN}


def test_what_is_no_host_error_is_raised_once_all_have_ended() -> None:
    made, _, _ = pool()
    ended = []

    def work(helper: Helper) -> None:
        if helper.name == WEB1:
            raise ZeroDivisionError
        time.sleep(0.05)
        ended.append(helper.name)

    with pytest.raises(ZeroDivisionError):
        made.each([WEB1, WEB2], work)
    assert ended == [WEB2]


def test_at_once_waits_for_every_connection_and_survives_a_host_that_is_down() -> None:
    made, one, two = pool()
    connected = []
    slow = threading.Event()

    def connect() -> None:
        slow.wait(0.1)
        connected.append(WEB1)

    one.connect = connect  # type: ignore[method-assign]
    seen = []
    made.each([WEB1, WEB2], lambda _: seen.append(list(connected)), at_once=True)
    assert seen == [[WEB1], [WEB1]]
    two.connect_error = DOWN
    assert made.each([WEB1, WEB2], lambda helper: helper.name, at_once=True) == {WEB1: WEB1, WEB2: DOWN}


def test_no_hosts_is_no_work() -> None:
    assert pool()[0].each([], lambda _: None, at_once=True) == {}


def test_an_unknown_host_names_the_known_ones() -> None:
    made, _, _ = pool()
    for ask in (made.helper, made.address, made.host):
        with pytest.raises(NotFoundError, match="web1, web2") as caught:
            ask(HostName.parse("web9"))
        assert caught.value.code == "host-unknown"


def test_closing_twice_is_closing_once() -> None:
    made, _, _ = pool()
    with made:
        made.close()


def test_no_key_is_said_before_anything_is_sent(tmp_path) -> None:
    from deployd.paths import StatePaths

    host = Host(name=WEB1, address="127.0.0.1", port=1, host_key="ssh-ed25519 AAAA")
    with Pool([host], paths=StatePaths(tmp_path)) as made:
        outcome = made.connect_all()[WEB1]
    assert isinstance(outcome, HostError)
    assert outcome.code == "ssh-auth-failed"


class Door:
    """An rsync door that notes what is done with it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def warm(self) -> None:
        self.done.append("warm")

    def close(self) -> None:
        self.done.append("close")


def test_shipping_begins_once_for_each_host_and_never_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, _ = pool()
    doors: list[Door] = []
    monkeypatch.setattr(made, "_new_wire", lambda _name: [doors.append(Door()), doors[-1]][1])
    made.begin_shipping()
    made.begin_shipping()
    assert [door.done for door in doors] == [["warm", "warm"]] * 2
    made.close()
    assert [door.done[-1] for door in doors] == ["close"] * 2
    made.begin_shipping()
    assert len(doors) == 2, "a connection that nobody closes"
