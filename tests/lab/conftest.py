"""Labs for the tests: `shared_lab` is one for the whole session; `make_lab` makes others, gone when the test ends.

Labs are named `test-<pid>-...`, so what a killed session left is found and taken down by the next.
"""

from __future__ import annotations

import os
import re
import signal
from itertools import count
from pathlib import Path

import pytest

from deployd import lab
from tests.support.world import World

_OURS = re.compile(r"test-([0-9]+)(?:-.*)?")
SHARED_HOSTS = 2


def _sweep() -> None:
    for name in lab.existing():
        match = _OURS.fullmatch(name)
        if match and (int(match[1]) == os.getpid() or not Path("/proc", match[1]).exists()):
            lab.down(name)


def _interrupt(_number, _frame):
    raise KeyboardInterrupt


@pytest.fixture(scope="session")
def lab_names():
    """Names for labs that this session may make; every one of them is down afterwards, whatever happened."""
    if os.geteuid() != 0:
        pytest.fail("the lab needs root")
    signal.signal(signal.SIGTERM, _interrupt)  # who ends the tests still gets the labs taken down
    _sweep()
    try:
        yield (f"test-{os.getpid()}-{number}" for number in count())
    finally:
        _sweep()


@pytest.fixture(scope="session")
def shared_lab(lab_names):
    """A running lab of two hosts (web1, web2). Tests bootstrap them once and share them: leave them as you met them."""
    return lab.up(f"test-{os.getpid()}", hosts=SHARED_HOSTS)


@pytest.fixture
def make_lab(lab_names):
    """`make_lab(hosts=1, disk=None)` makes a lab of bare hosts for one test."""
    made = []

    def make(hosts=1, **wishes):
        made.append(next(lab_names))
        return lab.up(made[-1], hosts=hosts, **wishes)

    yield make
    for name in made:
        lab.down(name)


@pytest.fixture(scope="session")
def bootstrapped(shared_lab, tmp_path_factory):
    """The shared lab's hosts, made hosts of deployd by the playbook: `(state folder, hosts)`."""
    state = tmp_path_factory.mktemp("state")
    hosts = lab.status(shared_lab.name)
    world = World(folder=tmp_path_factory.mktemp("boot"), hosts=hosts, state=state)
    world.add_hosts()
    world.run("host", "bootstrap", *[host.name for host in hosts], timeout=400)
    return state, hosts


_numbers = count(1)


@pytest.fixture
def world(bootstrapped, tmp_path):
    """A person with an app of their own on the shared hosts; the app is taken off them afterwards."""
    yield from _person(bootstrapped, tmp_path)


@pytest.fixture(scope="module")
def lasting_world(bootstrapped, tmp_path_factory):
    """As `world`, for all tests of a file: what one leaves live is what the next one finds."""
    yield from _person(bootstrapped, tmp_path_factory.mktemp("lasting"))


def _person(bootstrapped, folder):
    state, hosts = bootstrapped
    made = World(folder=folder, hosts=hosts, state=state, name=f"app{next(_numbers)}")
    yield made
    for host in hosts:
        lab.mend(hosts_lab(hosts), host.name)
        lab.run(
            hosts_lab(hosts), host.name,
            ["env", "-u", "SSH_CONNECTION", "/usr/local/sbin/deployd-host", "--root-half", "remove-app", made.name, "production"],
            check=False, timeout=60,
        )  # fmt: skip


def hosts_lab(hosts):
    """The name of the lab that hosts belong to."""
    return Path(hosts[0].identity).parent.name
