"""What is kept of visitors: once, by the minute, then by the hour, then no longer; on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployd.domain import counted, traffic
from deployd.domain.ids import AppName, EnvironmentName, HostName
from deployd.domain.traffic import Cell, HostTraffic, VitalCell
from deployd.paths import StatePaths
from deployd.store import Store

PLACE = (AppName("shop"), EnvironmentName("production"))
WEB = HostName("web1")
NOW = 1_795_290_000.0 - 1_795_290_000.0 % 3600


@pytest.fixture(params=["sqlite", "postgres"])
def store(request, tmp_path):
    url = request.getfixturevalue("postgres").database() if request.param == "postgres" else None
    made = Store(StatePaths(tmp_path / "state").make(), url)
    yield made
    made.close()


def answer(since: float, until: float, *cells: Cell, now: float | None = None) -> HostTraffic:
    return HostTraffic(
        host=WEB, now=until if now is None else now, since=since, until=until, oldest=since, cells=cells, vitals=()
    )


def cell(start: float, count: int = 1, status: int = 2, route: str = "/") -> Cell:
    return Cell(
        start=start, host=WEB, release="r", route=route, status=status, count=count, size=10 * count,
        seconds=0.02 * count, buckets={60: count},
    )  # fmt: skip


def window(store: Store, seconds: float, now: float = NOW) -> HostTraffic:
    return store.traffic.window(*PLACE, hosts=[WEB], since=now - seconds, now=now)[WEB]


def test_answers_that_follow_each_other_add_up_and_the_same_one_counts_once(store):
    first = answer(NOW - 90, NOW - 50, cell(NOW - 120, 3), cell(NOW - 60, 2))
    assert store.traffic.cursor(*PLACE, WEB) is None
    assert store.traffic.add(*PLACE, first, now=NOW - 50)
    assert store.traffic.cursor(*PLACE, WEB) == NOW - 50
    assert not store.traffic.add(*PLACE, first, now=NOW - 50)  # another daemon was quicker
    assert store.traffic.add(*PLACE, answer(NOW - 50, NOW, cell(NOW - 60, 5), cell(NOW - 60, 1, 5)), now=NOW)
    found = window(store, 600)
    every = traffic.total(found.cells)
    assert (every.count, every.errors, every.size, every.buckets) == (11, 1, 110, {60: 11})
    assert found.seconds == pytest.approx(90)
    assert {one.count for one in window(store, 30).cells} == {7, 1}


def test_a_host_whose_clock_is_wrong_is_kept_by_ours(store):
    wrong = NOW + 300
    assert store.traffic.add(*PLACE, answer(wrong - 40, wrong, cell(wrong - 60, 4), now=wrong), now=NOW)
    assert store.traffic.cursor(*PLACE, WEB) == wrong
    assert traffic.total(window(store, 120).cells).count == 4


def test_minutes_become_hours_and_hours_go(store):
    for minute in range(180):
        start = NOW - 3 * 3600 + 60 * minute
        assert store.traffic.add(*PLACE, answer(start, start + 60, cell(start)), now=start + 60)
    assert store.traffic.roll_up(NOW - 3600) == 120
    assert store.traffic.roll_up(NOW - 3600) == 0
    found = window(store, 4 * 3600)
    assert traffic.total(found.cells).count == 180
    assert found.seconds == pytest.approx(3 * 3600)
    assert len(found.cells) == 62
    assert traffic.total(window(store, 1800).cells).count == 30
    assert store.traffic.prune(NOW - 3 * 3600 + 3601) == 1
    assert traffic.total(window(store, 4 * 3600).cells).count == 120
    assert store.traffic.cursor(*PLACE, WEB) == NOW


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(0.5, 400), min_size=1, max_size=6), st.integers(0, 5))
def test_nothing_is_lost_whenever_the_hosts_are_asked(tmp_path, steps, rolled):
    made = Store(StatePaths(tmp_path / f"s{len(steps)}{rolled}").make())
    try:
        made.traffic.prune(NOW * 2)
        since, sent = NOW, 0
        for step in steps:
            cells = [cell(NOW + 60 * ((since - NOW) // 60)), cell(NOW + 60 * ((since + step - NOW) // 60))]
            assert made.traffic.add(*PLACE, answer(since, since + step, *cells), now=since + step)
            since, sent = since + step, sent + 2
        made.traffic.roll_up(NOW + 3600 * rolled)
        found = window(made, 7200, now=since)
        assert traffic.total(found.cells).count == sent
        assert found.seconds == pytest.approx(sum(steps), abs=0.01)
    finally:
        made.close()


def test_vitals_are_kept_too(store):
    told = VitalCell(
        start=NOW - 60, host=WEB, release="r", route="/", name="LCP", good=3, middling=1, poor=0, buckets={80: 4}
    )
    found = HostTraffic(host=WEB, now=NOW, since=NOW - 60, until=NOW, oldest=None, cells=(), vitals=(told,))
    assert store.traffic.add(*PLACE, found, now=NOW)
    (kept,) = window(store, 120).vitals
    assert (kept.name, kept.good, kept.middling, kept.buckets) == ("LCP", 3, 1, {80: 4})


def test_made_up_addresses_make_no_rows(store):
    """A host tells sixty routes at a time; whoever makes up addresses makes it other sixty each time."""
    for minute in range(90):
        at = NOW - 7200 + 60 * minute
        made_up = [cell(at, route=f"/made/{minute}/{number}") for number in range(60)]
        assert store.traffic.add(*PLACE, answer(at, at + 60, cell(at, 100, route="/shop"), *made_up), now=at + 60)
    store.traffic.roll_up(NOW)
    found = window(store, 7200)
    routes = traffic.grouped(found.cells, "route")
    assert len(routes) <= counted.MOST_ROUTES
    assert (routes["/shop"].count, traffic.total(found.cells).count) == (9000, 90 * 160)
