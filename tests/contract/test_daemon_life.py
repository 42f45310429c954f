"""A real `deployd serve`: one owner of the folder, systemd's words, SIGHUP, SIGTERM, and kill -9 at every kind of step."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deployd.client import Client
from deployd.domain.ids import AppName, EnvironmentName, HostName
from deployd.domain.options import Options
from deployd.domain.stages import SourceRequest
from deployd.errors import DeploydError
from deployd.paths import StatePaths
from deployd.remote.client import RemoteClient
from deployd.remote.connection import Daemon
from deployd.rollouts.testing import FolderHost
from deployd.rollouts.wishes import ReleaseWish, RollbackWish
from deployd.store import Store
from tests.support.daemons import HOSTS, Served

SHOP, PRODUCTION = AppName.parse("shop"), EnvironmentName.parse("production")
NAMES = tuple(HostName(name) for name in HOSTS)
CLIENTS: list[RemoteClient] = []


@pytest.fixture
def serve(tmp_path):
    """Starts daemons on one folder; ends those that still run."""
    started: list[Served] = []

    def start(**options) -> Served:
        started.append(Served(tmp_path, **options))
        return started[-1]

    yield start
    while CLIENTS:
        CLIENTS.pop().close()
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.wait()


def client_of(served: Served) -> RemoteClient:
    paths = StatePaths(served.state)
    client = RemoteClient(Daemon(socket=paths.socket), paths, who="ada")
    CLIENTS.append(client)
    return client


def wish(ref: str, **changes) -> ReleaseWish:
    return ReleaseWish(
        app=SHOP, environment=PRODUCTION, source=SourceRequest(repository="/r", ref=ref), hosts=NAMES,
        options=Options(), **changes,
    )  # fmt: skip


def back() -> RollbackWish:
    return RollbackWish(app=SHOP, environment=PRODUCTION, hosts=NAMES, options=Options())


def quiet(_event, /, **_fields) -> None:
    pass


def release(served: Served, ref: str):
    return client_of(served).release(wish(ref), report=quiet, cancel=threading.Event())


def live(served: Served) -> set[str | None]:
    return {FolderHost(name, served.hosts / name).current for name in NAMES}


def settled(served: Served, *, seconds: float = 90):
    """The newest rollout, once none is unfinished."""
    store = Client(StatePaths(served.state), who="ada", database_url=served.database)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if store.rollouts() and all(one.finished for one in store.rollouts()):
            found = store.rollouts()[0]
            store.close()
            return found
        time.sleep(0.05)
    raise AssertionError([(one.id, one.state) for one in store.rollouts()])


def building(served: Served, *rollouts) -> None:
    """Wait until these are being built."""
    store = Store(StatePaths(served.state), served.database)
    deadline = time.monotonic() + 90
    while {getattr(store.rollouts.find(one), "state", None) for one in rollouts} != {"building"}:
        assert time.monotonic() < deadline, [store.queue.get(one) for one in rollouts]
        time.sleep(0.05)
    store.close()


def test_a_release_and_a_rollback_through_the_socket(serve):
    served = serve()
    first, second = release(served, "one"), release(served, "two")
    client = client_of(served)
    told: list[str] = []

    result = client.rollback(back(), report=lambda event, **_: told.append(str(event)), cancel=threading.Event())

    assert result.outcome == "live"
    assert result.release == first.release
    assert result.previous == second.release
    assert live(served) == {first.release}
    assert told[0] == "rollout_started"
    assert told[-1] == "rollout_finished"
    assert served.close() == 0


def test_a_second_daemon_on_the_folder_refuses_with_4_and_names_the_first(serve, tmp_path):
    served = serve()
    command = [str(Path(sys.executable).with_name("deployd")), "serve", "--state-dir", str(served.state)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 4
    assert f"process {served.process.pid}" in done.stderr
    assert "deployd serve" in done.stderr
    assert release(served, "one").outcome == "live"


def test_a_command_beside_the_daemon_cannot_run_the_engine_itself(serve):
    served = serve()
    alone = Client(StatePaths(served.state), who="ada", database_url=served.database)
    with pytest.raises(DeploydError) as caught:
        alone.release(wish("one"), report=quiet, cancel=threading.Event())
    alone.close()
    assert caught.value.code == "busy"
    assert "deployd serve" in caught.value.what


def test_systemd_is_told_when_it_is_ready_reloads_and_stops(serve, tmp_path):
    place = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(place))
        receiver.settimeout(60)
        served = serve(env={"NOTIFY_SOCKET": str(place), "WATCHDOG_USEC": "200000"})
        told: list[str] = []

        def until(word: str) -> None:
            while not told or word not in told[-1]:
                told.append(receiver.recv(4096).decode())

        until("READY=1")
        until("WATCHDOG=1")
        served.process.send_signal(signal.SIGHUP)
        until("RELOADING=1")
        assert "MONOTONIC_USEC=" in told[-1]
        until("READY=1")
        served.process.send_signal(signal.SIGTERM)
        until("STOPPING=1")
    assert served.wait() == 0
    assert served.told("settings_reloaded")


def test_sigterm_lets_what_runs_finish(serve):
    served = serve(env={"DRIVE_BUILD_S": "1", "DEPLOYD_STOP_GRACE": "60s"})
    client = client_of(served)
    rollout = client.ask(wish("one"))
    building(served, rollout)
    assert served.close() == 0
    record = settled(served)
    assert (record.id, record.outcome) == (rollout, "live")


def test_sigterm_parks_what_takes_longer_and_the_next_start_goes_on_with_it(serve):
    served = serve(env={"DRIVE_BUILD_S": "60", "DEPLOYD_STOP_GRACE": "0s"})
    rollout = client_of(served).ask(wish("one"))
    building(served, rollout)
    began = time.monotonic()
    assert served.close() == 0
    assert time.monotonic() - began < 40
    assert served.told("rollouts_parked")[0]["rollouts"] == [rollout]

    again = serve()
    record = settled(again)
    assert (record.id, record.outcome) == (rollout, "live")
    assert live(again) == {record.release}


@pytest.mark.parametrize(
    "point",
    ["before:check", "done:build", "before:prepare", "before:flip", "done:flip", "after:record", "done:close"],
)
def test_killed_at_a_step_of_a_release_and_started_again_it_ends_live(serve, point):
    served = serve()
    old = release(served, "one")
    served.close()
    killed = serve(fault=f"{point}=kill")
    rollout = client_of(killed).ask(wish("two"))
    assert killed.wait() == -signal.SIGKILL
    assert live(killed) <= {old.release, *new_ones(killed)}

    again = serve()
    record = settled(again)
    assert (record.id, record.outcome) == (rollout, "live"), record.error
    assert live(again) == {record.release}
    assert release(again, "three").outcome == "live"


def new_ones(served: Served) -> set[str]:
    store = Client(StatePaths(served.state), who="ada", database_url=served.database)
    found = {str(one.id) for one in store.releases(SHOP, PRODUCTION)}
    store.close()
    return found


@pytest.mark.parametrize("point", ["before:choose", "done:flip", "after:record"])
def test_killed_at_a_step_of_a_rollback_and_started_again_it_is_back(serve, point):
    served = serve()
    first = release(served, "one")
    release(served, "two")
    served.close()
    killed = serve(fault=f"{point}=kill")
    client_of(killed).ask(back())
    assert killed.wait() == -signal.SIGKILL

    again = serve()
    record = settled(again)
    assert (record.kind, record.outcome) == ("rollback", "live"), record.error
    assert live(again) == {first.release}


def test_a_killed_release_never_overtakes_the_rollback_that_came_after_it(serve):
    served = serve()
    first = release(served, "one")
    release(served, "two")
    served.close()
    killed = serve(fault="before:flip=kill")
    late = client_of(killed).ask(wish("three"))
    assert killed.wait() == -signal.SIGKILL

    again = serve(env={"DEPLOYD_TEST_FAULT": ""})
    client = client_of(again)
    result = client.rollback(back(), report=quiet, cancel=threading.Event())
    settled(again)
    assert result.outcome == "live"
    found = client.rollout_by_id(late)
    if found.outcome == "live":  # it was settled before the rollback was asked for: then that went back from it
        assert result.previous == found.release
    else:
        assert live(again) == {first.release}
    assert live(again) == {result.release}


def test_a_client_waits_for_a_daemon_that_is_restarted(serve):
    served = serve(env={"DRIVE_BUILD_S": "60", "DEPLOYD_STOP_GRACE": "0s"})
    done: list = []
    client = client_of(served)
    attending = threading.Thread(
        target=lambda: done.append(client.release(wish("one"), report=quiet, cancel=threading.Event())), daemon=True
    )
    attending.start()
    time.sleep(0.5)
    served.close(signal.SIGKILL)
    serve()
    attending.join(90)
    assert done
    assert done[0].outcome == "live"


def test_a_long_path_of_the_state_folder_has_a_socket_too(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    served = Served(deep)
    client = client_of(served)
    try:
        assert len(os.fsencode(served.state / "deployd.sock")) > 107
        assert client.me()["scope"] == "admin"
        assert Path(served.state / "deployd.sock").stat().st_mode & 0o777 == 0o600
    finally:
        client.close()
        served.close()
