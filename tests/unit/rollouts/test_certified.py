"""When an authority that refused is asked again by a daemon: less and less often, and always in time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployd.certificates.reading import Certificate
from deployd.domain.ids import AppName, EnvironmentName
from deployd.rollouts.certified import HOUR, Kept, Site

NOW = 1_800_000_000.0
DAY = 24 * HOUR
REFUSED = Kept(
    site=Site(app=AppName("shop"), environment=EnvironmentName("production"), names=("a.com",), hosts=()),
    problem="a.com: it leads nowhere",
    tried=NOW,
    failures=1,
)


@pytest.mark.parametrize(("failures", "hours"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 12), (99, 12), (0, 1)])
def test_each_failure_doubles_the_wait(failures: int, hours: int) -> None:
    """Less a minute, so that who looks hourly is not a second too early; 0 is what an earlier version wrote."""
    kept = replace(REFUSED, failures=failures)
    assert kept.next_try == NOW + hours * HOUR - 60
    assert [kept.rests(NOW + hours * HOUR + late) for late in (-61, 0)] == [True, False]


@pytest.mark.parametrize(("left", "hours"), [(30 * DAY, 12), (2 * DAY, 6), (4 * HOUR, 1), (-DAY, 1)])
def test_a_certificate_that_ends_soon_is_asked_for_more_often(left: float, hours: int) -> None:
    ends = Certificate(names=("a.com",), begins=NOW - DAY, ends=NOW + left, issuer=None)
    told = replace(REFUSED, failures=99, certificate=ends).next_try
    assert told
    assert told == pytest.approx(NOW + hours * HOUR, abs=60)


def test_what_did_not_fail_and_what_a_wrong_clock_told_hold_nobody_up() -> None:
    assert replace(REFUSED, problem=None).next_try is None
    assert not replace(REFUSED, problem=None).rests(NOW)
    assert not REFUSED.rests(NOW - 1)


def test_it_is_shown() -> None:
    told = REFUSED.to_json()
    assert (told["tried"], told["next_try"]) == ("2027-01-15T08:00:00+00:00", "2027-01-15T08:59:00+00:00")
    assert (told["missing"], replace(REFUSED, problem=None).to_json()["next_try"]) == (["a.com"], None)
