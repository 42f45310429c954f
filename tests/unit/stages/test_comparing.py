"""Whether a release is clearly worse than the one before: what is found, what is not, and how seldom in vain."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployd.domain.traffic import Cell
from deployd.stages.supervise.comparing import FALSE_ALARM, compare, tail


def cells(route: str, count: int, errors: int = 0, milliseconds: float = 20.0) -> list[Cell]:
    """Requests of one route, all as fast."""
    bucket = 0
    while 0.1 * 2 ** ((bucket + 1) / 8) <= milliseconds:
        bucket += 1
    made = [(2, count - errors), (5, errors)]
    return [
        Cell(
            start=0, host="web1", release="r", route=route, status=status, count=number, size=0,
            seconds=number * milliseconds / 1000, buckets={bucket: number},
        )
        for status, number in made
        if number
    ]  # fmt: skip


def test_a_route_with_errors_is_told_with_its_numbers() -> None:
    before = cells("/", 5000) + cells("/checkout", 2210, 2)
    found = compare(cells("/", 2000) + cells("/checkout", 812, 33), before, looks=30)
    assert (found.outcome, found.route) == ("worse", "/checkout")
    assert found.what == "5xx 4.1 % of 812 requests against 0.1 % of 2,210 before, route /checkout"


@pytest.mark.parametrize(
    ("after", "before"),
    [
        (cells("/", 812, 1), cells("/", 2210, 0)),  # one error is no finding
        (cells("/", 1000, 60), cells("/", 1000, 55)),  # it was as bad before
        (cells("/", 40, 3), cells("/", 40, 0)),  # few, and chance may do that
        (cells("/a", 100, 50), cells("/a", 1000, 500)),  # a route that always failed
        (cells("/a", 900, 450) + cells("/", 100), cells("/a", 100, 50) + cells("/", 900)),  # more visits to it
        (cells("/", 500, milliseconds=60), cells("/", 500, milliseconds=20)),  # slower, and nobody notices
        (cells("/", 500, milliseconds=1500), cells("/", 500, milliseconds=1000)),  # half as slow again
        (cells("/new", 30, 3), cells("/", 500)),  # a new page with some errors has nothing to be compared with
    ],
)
def test_no_finding(after: list[Cell], before: list[Cell]) -> None:
    assert compare(after, before).outcome == "fine"


@pytest.mark.parametrize(
    ("after", "before", "route"),
    [
        (cells("/", 20, 20), cells("/", 25), "/"),
        (cells("/", 25, 25), [], "/"),  # nothing before, and nothing but errors
        (cells("/new", 30, 30) + cells("/", 100), cells("/", 500), "/new"),
        (cells("/", 300, milliseconds=2000) + cells("/b", 300), cells("/", 300) + cells("/b", 300), "/"),
        (
            [cell for number in range(40) for cell in cells(f"/{number}", 9, 1)],
            [cell for number in range(40) for cell in cells(f"/{number}", 12)],
            None,  # an error here and there, and none before
        ),
        (
            [cell for number in range(12) for cell in cells(f"/{number}", 25, milliseconds=900)],
            [cell for number in range(12) for cell in cells(f"/{number}", 25)],
            None,
        ),
    ],
)
def test_clearly_worse(after: list[Cell], before: list[Cell], route: str | None) -> None:
    found = compare(after, before, looks=30)
    assert (found.outcome, found.route) == ("worse", route), found


@pytest.mark.parametrize(("after", "before"), [([], []), (cells("/", 19, 19), cells("/", 500)), (cells("/", 50), [])])
def test_too_little_traffic_is_said(after: list[Cell], before: list[Cell]) -> None:
    found = compare(after, before)
    assert found.outcome == "little"
    assert found.what.startswith("too little traffic to judge")


@given(st.integers(0, 60), st.integers(1, 60), st.integers(0, 60), st.integers(1, 60))
def test_the_tail_is_the_sum_over_all_tables(hits: int, size: int, hits_before: int, size_before: int) -> None:
    hits, hits_before = min(hits, size), min(hits_before, size_before)
    from math import comb

    marked, every = hits + hits_before, size + size_before
    wanted = sum(
        comb(marked, one) * comb(every - marked, size - one) for one in range(hits, min(size, marked) + 1)
    ) / comb(every, size)
    assert tail(hits, size, hits_before, size_before) == pytest.approx(wanted, rel=1e-9, abs=1e-15)


@settings(max_examples=40)
@given(st.integers(1, 5000), st.integers(0, 300), st.integers(1, 5000))
def test_more_errors_are_never_less_of_a_finding(size: int, hits: int, size_before: int) -> None:
    hits = min(hits, size - 1)
    assert tail(hits + 1, size, 0, size_before) <= tail(hits, size, 0, size_before)


def test_false_alarms_are_as_rare_as_promised() -> None:
    """The same app twice, looked at again and again while requests come in: errors and times drawn alike."""
    source = random.Random(5)
    alarms, bakes, looks = 0, 300, 10

    def draw(count: int) -> list[Cell]:
        made: list[Cell] = []
        for route, share in (("/", 0.01), ("/a", 0.1), ("/b", 0.3)):
            slow = sum(source.random() < 0.06 for _ in range(count))
            quick = count - slow
            made += cells(route, quick, sum(source.random() < share for _ in range(quick)))
            made += cells(route, slow, milliseconds=900)
        return made

    for _ in range(bakes):
        before, after = draw(60), []
        for _ in range(looks):
            after += draw(12)
            if compare(after, before, looks=looks).outcome == "worse":
                alarms += 1
                break
    assert alarms <= bakes * FALSE_ALARM * 3
