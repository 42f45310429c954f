"""Maintenance, canaries and links to previews, in this process and through a real daemon, by socket and by token."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from deployd.client import Client
from deployd.domain.options import Approval, Options
from deployd.errors import HostError, NotAllowedError, NotFoundError
from deployd.paths import StatePaths
from deployd.rollouts.testing import FolderPool, folder_host
from deployd.rollouts.wishes import ActivateWish
from tests.contract.test_daemon_hands import away_from
from tests.contract.test_daemon_life import NAMES, PRODUCTION, SHOP, client_of, live, quiet, release, serve, wish

__all__ = ["serve"]


def states(hosts) -> list[dict]:
    return [json.loads((hosts / name / "state.json").read_text()) for name in NAMES]


def test_doors_through_a_daemon(serve):
    served = serve(listen="127.0.0.1:0")
    here = client_of(served)
    made = release(served, "one").release
    for client in (here, away_from(served, here, "release")):
        doors = client.doors
        assert doors.maintenance(SHOP, PRODUCTION, hosts=NAMES, on=True, allow=["192.0.2.7"], page="<p>") == NAMES
        assert [one["maintenance"]["allow"] for one in states(served.hosts)] == [["192.0.2.7"]] * len(NAMES)
        assert {host.maintenance["allow"][0] for host in client.status(SHOP, PRODUCTION, NAMES).hosts} == {"192.0.2.7"}
        assert doors.maintenance(SHOP, PRODUCTION, hosts=NAMES, on=True) == ()
        assert doors.maintenance(SHOP, PRODUCTION, hosts=NAMES, on=False) == NAMES

        key = doors.share(SHOP, PRODUCTION, hosts=NAMES, label="pr-12", seconds=3600)
        assert {one["shares"][key] for one in states(served.hosts)} == {"pr-12"}

        assert doors.end_canary(SHOP, PRODUCTION, hosts=NAMES) is None
        doors.canary(SHOP, PRODUCTION, hosts=NAMES, release=made, percent=10)
        assert {host.canary["percent"] for host in client.status(SHOP, PRODUCTION, NAMES).hosts} == {10.0}
        assert doors.end_canary(SHOP, PRODUCTION, hosts=NAMES) == made
        assert [one["canary"] for one in states(served.hosts)] == [None] * len(NAMES)
    assert {one.action for one in here.audit(limit=30)} >= {"maintenance", "canary", "canary.end", "preview.link"}
    with pytest.raises(NotAllowedError):
        away_from(served, here, "read").doors.maintenance(SHOP, PRODUCTION, hosts=NAMES, on=True)


def test_a_canary_that_one_host_refuses_is_on_no_host(tmp_path):
    paths = StatePaths(tmp_path / "state").make()
    client = Client(paths, who="ada", connect=lambda hosts: FolderPool.below(tmp_path / "hosts", hosts))
    for name in NAMES:
        client.add_host(folder_host(name))
    release = "20261121-101530-3fa9c01-k2x7"
    with pytest.raises(HostError):
        client.doors.canary(SHOP, PRODUCTION, hosts=NAMES, release=release, percent=10)
    first = tmp_path / "hosts" / NAMES[0] / "state.json"
    state = json.loads(first.read_text())
    state["releases"][release] = {"running": True, "live": False}
    first.write_text(json.dumps(state))
    with pytest.raises(HostError) as refused:
        client.doors.canary(SHOP, PRODUCTION, hosts=NAMES, release=release, percent=10)
    assert refused.value.code == "not-sealed"
    assert [one.get("canary") for one in states(tmp_path / "hosts")] == [None] * len(NAMES)
    client.close()


def test_a_canary_is_finished_from_elsewhere_but_not_in_a_freeze_nor_without_the_yes_it_needs(serve):
    served = serve(listen="127.0.0.1:0")
    here = client_of(served)
    first = release(served, "one").release
    made = here.release(wish("two", activate=False), report=quiet, cancel=threading.Event()).release
    away = away_from(served, here, "release")
    finish = ActivateWish(app=SHOP, environment=PRODUCTION, release=made, hosts=NAMES, options=Options())

    def finished():
        return away.activate(finish, report=quiet, cancel=threading.Event())

    away.doors.canary(SHOP, PRODUCTION, hosts=NAMES, release=made, percent=10)
    here.agenda.freeze(SHOP, PRODUCTION, timezone="UTC", within=60)
    with pytest.raises(NotAllowedError) as frozen:
        finished()
    assert (frozen.value.code, live(served)) == ("frozen", {first})
    here.agenda.unfreeze(SHOP, PRODUCTION)
    assert (finished().outcome, live(served)) == ("live", {made})

    asking = replace(wish("three"), options=Options(approval=Approval(mode="any")))
    waits = here.release(asking, report=quiet, cancel=threading.Event())
    assert waits.outcome == "waiting"
    finish = replace(finish, release=waits.release)
    with pytest.raises(NotAllowedError) as unapproved:
        finished()
    with pytest.raises(NotAllowedError):
        away.doors.canary(SHOP, PRODUCTION, hosts=NAMES, release=waits.release, percent=10)
    assert (unapproved.value.code, live(served)) == ("approval-needed", {made})
    with pytest.raises(NotFoundError):
        away.activate(replace(finish, release="20261121-101530-3fa9c01-zzzz"), report=quiet, cancel=threading.Event())
