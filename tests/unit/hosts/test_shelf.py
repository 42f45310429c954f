"""Kept connections are closed when their time is over, by one timer, however often they are lent."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.domain.host import Host
from deployd.domain.ids import HostName
from deployd.hosts.shelf import Shelf
from deployd.paths import StatePaths

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Kept:
    """A connection on which nothing runs."""

    host: Host
    closed: bool = False

    def park(self) -> bool:
        return not self.closed

    def close(self) -> None:
        self.closed = True


def host(name: str) -> Host:
    return Host(name=HostName(name), address="192.0.2.1", host_key="ssh-ed25519 AAAA")


def timers() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if isinstance(one, threading.Timer)}


def test_one_timer_serves_all_and_ends_with_them(tmp_path: Path) -> None:
    before, shelf = timers(), Shelf(StatePaths(tmp_path), kept_for=60)
    for number in range(20):
        assert shelf.put(Kept(host(f"web{number}")))
    assert len(timers() - before) == 1

    shelf.close()
    for one in timers() - before:
        one.join(10)
    assert timers() <= before


def test_each_is_closed_when_its_own_time_is_over(tmp_path: Path) -> None:
    shelf = Shelf(StatePaths(tmp_path), kept_for=0.05)
    first, second = Kept(host("web1")), Kept(host("web2"))
    assert shelf.put(first)
    time.sleep(0.03)
    assert shelf.put(second)

    deadline = time.monotonic() + 60
    while not (first.closed and second.closed) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert first.closed
    assert second.closed


def test_the_second_of_a_host_is_not_kept(tmp_path: Path) -> None:
    shelf = Shelf(StatePaths(tmp_path))
    assert shelf.put(Kept(host("web1")))
    assert not shelf.put(Kept(host("web1")))
    shelf.close()
