"""What hosts say becomes what a new store knows: releases, what was live in which order, what is live, what was left."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deployd.domain.host import HostedApp
from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
from deployd.domain.release import Mark, ReleaseState
from deployd.errors import UnreachableError
from deployd.hosts.replies import AppStatus
from deployd.paths import StatePaths
from deployd.rollouts import adopting, kept
from deployd.rollouts.wishes import wish_from_json
from deployd.store import Store

SHOP, PRODUCTION = AppName("shop"), EnvironmentName("production")
A, B, C, D = (ReleaseId(f"2026112{n}-101530-3fa9c01-aaa{n}") for n in range(1, 5))
WEB1, WEB2 = HostName("web1"), HostName("web2")


def provenance(release: ReleaseId) -> dict:
    return {
        "app": "shop", "environment": "production", "release": release, "artifact": "a" + "1" * 32, "build_id": "b" + "2" * 20,
        "runtime": "node-22.23.3-linux-x64-glibc", "commit": "3" * 40, "branch": "main", "ref": "main", "dirty": False,
        "subject": "It works", "author": "a", "who": "ada", "message": None, "created": "2026-11-21T10:15:30.000Z",
        "node": "22.23.3", "lockfile_sha256": None, "framework": "nextjs", "deployd": "0.1.0", "of the future": 1,
    }  # fmt: skip


def hosted(release: ReleaseId, live_at: float | None, *, said: bool = True) -> dict:
    return {
        "id": release, "state": "warm", "was_live": live_at is not None, "live_at": live_at,
        "provenance": provenance(release) if said else None,
    }  # fmt: skip


def status(current: ReleaseId | None, *releases: dict, since: float = 100.0) -> AppStatus:
    config = {"instances": 2, "memory": None, "drain": 9.0, "port": 8080, "domains": ["shop.example"]}
    return AppStatus.from_json(
        {"current": current, "epoch": 7, "since": since if current else None, "config": config, "releases": releases}
    )


class Fleet:
    """Hosts that answer `facts` and `status`; a None does not answer."""

    def __init__(self, hosts: dict[HostName, AppStatus | None]) -> None:
        self.hosts = hosts
        self.names = tuple(hosts)

    def each(self, names, do):
        return {name: self._one(name, do) for name in names}

    def _one(self, name, do):
        found = self.hosts[name]
        if found is None:
            return UnreachableError(f"{name} does not answer", host=name, live="unknown", fix="see to it")
        apps = (HostedApp(app="shop", environment="production", current=found.current),)
        return do(SimpleNamespace(facts=lambda: SimpleNamespace(apps=apps), status=lambda _app, _environment: found))


@pytest.fixture
def store(tmp_path):
    made = Store(StatePaths(tmp_path / "state").make())
    yield made
    made.close()


def test_releases_their_order_and_what_is_live(store):
    fleet = Fleet(
        {WEB1: status(B, hosted(A, 50.0), hosted(B, 100.0), hosted(C, None)), WEB2: status(B, hosted(B, 101.0))}
    )
    found = adopting.adopt(store, fleet, who="ada")

    (place,) = found.places
    assert (place.state, place.release, place.releases, place.hosts) == ("adopted", B, 3, (WEB1, WEB2))
    assert not place.mixed
    assert not found.errors
    states = {one.id: one.state for one in store.releases.of(SHOP, PRODUCTION)}
    assert states == {A: ReleaseState.RETIRED, B: ReleaseState.LIVE, C: ReleaseState.PREPARED}
    assert store.releases.get(A).live_at == "1970-01-01T00:00:50.000Z"
    assert [one for one, _ in store.live_log.of(SHOP, PRODUCTION)] == [A, B]
    record = store.rollouts.latest(SHOP, PRODUCTION)[0]
    assert (record.kind, record.outcome, record.who) == ("adopt", "live", "ada")
    wish = wish_from_json(record.wish)
    assert (wish.hosts, wish.options.run.instances, wish.options.run.port, wish.options.run.drain) == (
        (WEB1, WEB2),
        2,
        8080,
        9.0,
    )
    assert store.rollouts.unfinished() == ()


def test_what_somebody_went_back_from_is_bad(store):
    """C is newer than B, was live, and is live no more: a rollback from B does not go there, nor to itself."""
    adopting.adopt(store, Fleet({WEB1: status(B, hosted(A, 10.0), hosted(C, 50.0), hosted(B, 100.0))}), who="ada")
    assert store.releases.get(C).mark is Mark.BAD
    bad = kept.bad_ones(store, SHOP, PRODUCTION)
    log = [one for one, _ in store.live_log.of(SHOP, PRODUCTION)]
    assert kept.before(log, left={B}, bad=bad) == A


def test_a_second_time_changes_nothing_and_hosts_that_differ_are_told(store):
    fleet = Fleet({WEB1: status(A, hosted(A, 10.0), since=10.0), WEB2: status(B, hosted(B, 20.0), since=20.0)})
    (first,) = adopting.adopt(store, fleet, who="ada").places
    assert (first.mixed, first.release) == (True, B)
    before = store.live_log.of(SHOP, PRODUCTION)
    (again,) = adopting.adopt(store, fleet, who="ada").places
    assert again.state == "known"
    assert store.live_log.of(SHOP, PRODUCTION) == before
    assert len(store.rollouts.latest(SHOP, PRODUCTION)) == 1


def test_what_says_nothing_of_itself_is_left_out_and_a_host_that_is_away_is_told(store):
    fleet = Fleet({WEB1: status(B, hosted(A, 10.0, said=False), hosted(B, 20.0)), WEB2: None})
    found = adopting.adopt(store, fleet, who="ada")
    assert found.places[0].unreadable == (A,)
    assert [one.id for one in store.releases.of(SHOP, PRODUCTION)] == [B]
    assert list(found.errors) == [WEB2]
    assert found.errors[WEB2]["code"]


def test_an_app_that_was_never_live_is_no_rollout(store):
    (place,) = adopting.adopt(store, Fleet({WEB1: status(None, hosted(D, None))}), who="ada").places
    assert (place.state, place.release) == ("empty", None)
    assert store.rollouts.latest(SHOP, PRODUCTION) == ()
    assert store.releases.get(D).state is ReleaseState.PREPARED
