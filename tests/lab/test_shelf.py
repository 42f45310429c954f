"""Connections that a daemon keeps between rollouts, on real hosts: used again, never shared, never trusted when dead."""

from __future__ import annotations

import dataclasses

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


def served(bootstrapped) -> set[str]:
    """The helpers that serve on the first host, by pid."""
    _, hosts = bootstrapped
    told = lab.run(
        hosts_lab(hosts), hosts[0].name, ["sh", "-c", "pgrep -f '^[^ ]*python3 .*[r]oot-half serve' || true"]
    )
    return set(told.text.split())


def test_connection_and_helpers_are_used_again_and_a_helper_that_was_replaced_is_not(shelf, bootstrapped):
    kept, host = shelf
    _, hosts = bootstrapped
    with kept.pool([host]) as pool:
        pool.helper(host.name).facts()
        pool.helper(host.name).hold(APP, ENVIRONMENT, owner="first", rollout="r-1").close()
        first = way(pool)
    waiting = served(bootstrapped)
    assert waiting
    with kept.pool([host]) as pool:
        lease = pool.helper(host.name).hold(APP, ENVIRONMENT, owner="second", rollout="r-2")
        assert pool.helper(host.name).holder(APP, ENVIRONMENT).rollout == "r-2"
        assert way(pool) == first
        lease.close()
        assert not pool.helper(host.name).holder(APP, ENVIRONMENT).held
        assert waiting <= served(bootstrapped)
        with kept.pool([host]) as beside:
            beside.helper(host.name).facts()
            assert way(beside) != first
    waiting = served(bootstrapped)
    other = "cd /usr/local/lib/deployd && cp -a $(dirname $(readlink /usr/local/sbin/deployd-host)) 0123456789abcdef"
    link = "ln -sfn {}/deployd-host /usr/local/sbin/deployd-host.new && mv -T /usr/local/sbin/deployd-host{{.new,}}"
    root = ["bash", "-c"]
    own = lab.run(
        hosts_lab(hosts), hosts[0].name, [*root, "dirname $(readlink /usr/local/sbin/deployd-host)"]
    ).text.strip()
    try:
        there = link.format("/usr/local/lib/deployd/0123456789abcdef")
        lab.run(hosts_lab(hosts), hosts[0].name, [*root, f"{other} && {there}"])
        with kept.pool([host]) as pool:
            pool.helper(host.name).facts()
            pool.helper(host.name).hold(APP, ENVIRONMENT, owner="third", rollout="r-3").close()
        assert not waiting & served(bootstrapped)
    finally:
        back = f"{link.format(own)}; rm -rf /usr/local/lib/deployd/0123456789abcdef"
        lab.run(hosts_lab(hosts), hosts[0].name, [*root, back])


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
