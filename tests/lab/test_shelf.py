"""Connections that a daemon keeps between rollouts, on real hosts: used again, never shared, never trusted when dead."""

from __future__ import annotations

import dataclasses
import time

import pytest

from deployd import lab
from deployd.domain.host import Host
from deployd.domain.ids import AppName, EnvironmentName, HostName
from deployd.hosts.shelf import Shelf
from deployd.paths import StatePaths
from tests.lab.conftest import hosts_lab

APP, ENVIRONMENT = AppName.parse("shelf"), EnvironmentName.parse("production")


@pytest.fixture
def shelf(bootstrapped):
    """A shelf, and the first shared host."""
    state, (first, *_) = bootstrapped
    made = Shelf(StatePaths(state))
    name = HostName.parse(first.name)
    yield made, Host(name=name, address=first.address, host_key=first.host_key)
    made.close()


def way(pool) -> int:
    """This side's port of the pool's one connection."""
    (transport,) = pool._transports.values()
    return int(transport._client.get_transport().sock.getsockname()[1])


def served(bootstrapped) -> int:
    """How many helpers serve on the first host."""
    _, hosts = bootstrapped
    return int(lab.run(hosts_lab(hosts), hosts[0].name, ["sh", "-c", "pgrep -fc '[r]oot-half serve' || true"]).text)


def test_a_connection_is_used_again_and_nothing_waits_on_the_host(shelf, bootstrapped):
    kept, host = shelf
    with kept.pool([host]) as pool:
        pool.helper(host.name).facts()
        first = way(pool)
    deadline = time.monotonic() + 20
    while served(bootstrapped) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert served(bootstrapped) == 0
    with kept.pool([host]) as pool:
        pool.helper(host.name).facts()
        assert way(pool) == first
        with kept.pool([host]) as beside:
            beside.helper(host.name).facts()
            assert way(beside) != first


def test_a_connection_with_a_lock_on_it_is_closed_and_so_is_the_lock(shelf):
    kept, host = shelf
    with kept.pool([host]) as pool:
        lease = pool.helper(host.name).hold(APP, ENVIRONMENT, owner="first", rollout="r-1")
        assert lease.epoch
    with kept.pool([host]) as pool:
        pool.helper(host.name).hold(APP, ENVIRONMENT, owner="second", rollout="r-2").close()


def test_a_host_that_was_restarted_or_changed_is_connected_to_anew(shelf, bootstrapped):
    kept, host = shelf
    _, hosts = bootstrapped
    with kept.pool([host]) as pool:
        pool.helper(host.name).facts()
        first = way(pool)
    lab.run(hosts_lab(hosts), hosts[0].name, ["sh", "-c", "pkill -f 'sshd: [d]eployd' || true"])
    with kept.pool([host]) as pool:
        pool.helper(host.name).facts()
        assert way(pool) != first
    with kept.pool([dataclasses.replace(host, admin_user="ada")]) as pool:
        pool.helper(host.name).facts()
        assert kept._idle
