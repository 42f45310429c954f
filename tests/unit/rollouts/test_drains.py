"""A release in waves takes each host out of a load balancer before its flip and gives it back; nothing keeps one out."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from deployd.cli.draining import drained_here
from deployd.domain.options import Options, Run, Waves
from deployd.errors import HostError
from deployd.rollouts import draining

BY_ONE = Waves(strategy="batch", batch=1, pause=0.0, drain_wait=0.01)


def kept(fleet, name):
    return json.loads((fleet.host(name).root / "state.json").read_text())


def test_each_host_is_out_while_it_is_flipped_and_only_then(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one", waves=BY_ONE)
    assert not any(drain[:1] == [True] for name in fleet.names for drain in kept(fleet, name)["drains"]), (
        "nothing was live"
    )
    for name in fleet.names:
        fleet.host(name).root.joinpath("state.json").write_text(json.dumps(kept(fleet, name) | {"drains": []}))
    second = fleet.release("two", waves=BY_ONE)

    fleet.assert_live(second.release)
    for name in fleet.names:
        assert kept(fleet, name)["drains"] == [[True, "rollout", first.release], [False, "rollout", second.release]]
        assert kept(fleet, name)["drained"] == []


@pytest.mark.parametrize("waves", [Waves(), Waves(strategy="batch", batch=1, pause=0.0), Waves(drain_wait=0.01)])
def test_without_waves_or_without_a_wait_nothing_is_taken_out(fleet_of_three, waves):
    fleet = fleet_of_three
    fleet.release("one", waves=waves)
    assert not any(True in drain for name in fleet.names for drain in kept(fleet, name).get("drains", []))


def test_a_release_that_is_turned_back_gives_every_host_back(fleet_of_three):
    fleet = fleet_of_three
    first = fleet.release("one")
    fleet.make("web2", "fail-flip", "failed")
    with pytest.raises(HostError):
        fleet.release("two", waves=BY_ONE)

    fleet.assert_live(first.release)
    assert [True, "rollout", first.release] in kept(fleet, "web2")["drains"]
    for name in fleet.names:
        assert kept(fleet, name).get("drained", []) == []


def test_a_host_that_cannot_be_taken_out_is_told_and_flipped_all_the_same(fleet_of_three):
    fleet = fleet_of_three
    fleet.release("one")
    fleet.make("web2", "fail-drain", "bad-request")
    second = fleet.release("two", waves=BY_ONE)
    fleet.assert_live(second.release)
    assert any(one["host"] == "web2" and "load balancer" in one["what"] for one in fleet.told("warning"))


def test_an_operators_drain_outlives_a_release_and_is_kept_for_the_list(fleet_of_three):
    fleet = fleet_of_three
    fleet.release("one")
    with fleet.workshop.pool_of([fleet.names[0]]) as pool:
        (told,) = draining.drain(fleet.store, pool, None, on=True, who="ada")
        assert (told["host"], told["drained"], told["changed"]) == (fleet.names[0], ["host"], True)
    assert fleet.store.hosts.drained() == {fleet.names[0]: "ada"}
    fleet.release("two", waves=BY_ONE)
    assert kept(fleet, fleet.names[0])["drained"] == ["host"]
    with fleet.workshop.pool_of([fleet.names[0]]) as pool:
        draining.drain(fleet.store, pool, None, on=None, who="ada")
        assert fleet.store.hosts.drained() == {fleet.names[0]: "ada"}, "looking changes nothing"
        draining.drain(fleet.store, pool, None, on=False, who="ada")
    assert fleet.store.hosts.drained() == {}
    fleet.make(fleet.names[1], "down")
    with fleet.workshop.pool_of(fleet.names[:2]) as pool:
        found = draining.drain(fleet.store, pool, None, on=True, who="ada")
    assert ["error" in one for one in found] == [False, True]
    assert fleet.store.hosts.drained() == {fleet.names[0]: "ada"}


def test_status_says_which_hosts_are_left_alone_and_why():
    assert drained_here([("web1", ()), ("web2", ())]) == ""
    assert drained_here([("web1", ("host",)), ("web2", ("app",))]) == (
        "web1: load balancers are told to leave it alone; web2 (this app): load balancers are told to leave it alone; "
        "`deployd host undrain` ends it"
    )


def test_a_wait_ends_when_nothing_is_open(monkeypatch):
    from deployd.cli import draining as typed

    looks = [3, 1, 0]
    answers = []

    class Servers:
        def drain(self, hosts, place, *, on):
            count = 5 if on else looks.pop(0)
            return [{"host": "web1", "drained": ["host"], "changed": bool(on), "open": count}]

    out = SimpleNamespace(
        note=lambda *_: None, next=lambda *_: None, result=lambda data, text: answers.append((data, text))
    )
    cli = SimpleNamespace(client=SimpleNamespace(servers=Servers()), out=out)
    monkeypatch.setattr(typed.time, "sleep", lambda _: None)
    assert typed.drain(cli, [SimpleNamespace(name="web1")], None, wait=0.0, timeout=60.0) == 0
    assert answers[-1][0]["open"] == 0
    looks = [2, 2, 2]
    assert typed.drain(cli, [SimpleNamespace(name="web1")], None, wait=0.0, timeout=0.0) == 1
    assert "2 on web1" in answers[-1][1]


def test_names_without_a_certificate_are_told(fleet_of_three):
    """The host obtains it by itself: the release does not wait, and an authority that refuses holds nothing up."""
    fleet = fleet_of_three
    fleet.release("one")
    path = fleet.host("web2").root / "state.json"
    path.write_text(json.dumps(kept(fleet, "web2") | {"uncertified": ["shop.example.net"], "expired": 1.0}))

    run = Run(domains=("shop.example.net",), tls="acme")
    fleet.release("two", options=Options(run=run))

    told = {one["code"]: one["what"] for one in fleet.told("warning")}
    assert "shop.example.net" in told["certificate-missing"]
    assert "web2 has expired" in told["certificate-expired"]
