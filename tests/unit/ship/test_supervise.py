"""What stays and what goes; states of hosts; logs merged by time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployd.domain.ids import AppName, EnvironmentName, ReleaseId
from deployd.domain.options import Keep
from deployd.errors import UnreachableError
from deployd.hosts.pool import Pool
from deployd.hosts.replies import LogLine
from deployd.stages import supervise
from deployd.stages.supervise import follow, retention
from deployd.stages.supervise.retention import Candidate
from tests.unit.hosts.fakes import WEB1, WEB2, FakeTransport

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

APP, ENVIRONMENT = AppName.parse("shop"), EnvironmentName.parse("production")


def release(number: int) -> ReleaseId:
    return ReleaseId.parse(f"202611{number // 24 + 10:02}-{number % 24:02}0000-3fa9c01-aaaa")


def one(number: int, *, live: float | None = None, current: bool = False, bad: bool = False) -> Candidate:
    return Candidate(
        id=release(number), was_live=live is not None or current, live_at=live, is_current=current, is_bad=bad
    )


def test_only_what_was_live_counts_and_what_failed_is_kept_apart() -> None:
    releases = [one(1, live=1), one(2), one(3, live=3), one(4), one(5), one(6, live=6, current=True)]
    plan = retention.plan(releases, keep=Keep(releases=2, failed=1))
    assert plan.keep == (release(6), release(5), release(3))
    assert plan.remove == (release(4), release(2), release(1))
    assert plan.reasons[release(6)] == "current"


def test_the_last_good_release_stays_though_bad_ones_are_newer() -> None:
    releases = [one(1, live=1), one(2, live=2, bad=True), one(3, live=3, bad=True), one(4, live=4, current=True)]
    plan = retention.plan(releases, keep=Keep(releases=1, failed=0))
    assert plan.keep == (release(4), release(1))
    assert "rollback" in plan.reasons[release(1)]


def test_life_and_not_the_id_orders_releases() -> None:
    releases = [one(1, live=90, current=True), one(2, live=20), one(3, live=30), one(4, live=5)]
    plan = retention.plan(releases, keep=Keep(releases=2, failed=0))
    assert plan.keep == (release(3), release(1))


def test_what_was_live_a_moment_ago_stays_however_many_there_are() -> None:
    """Pages that came from it are still open; when it went live does not matter, and neither does `releases`."""
    left = [(1, 800.0), (2, 899.0), (3, 901.0), (4, 1500.0), (5, None)]
    releases = [
        Candidate(id=release(n), was_live=True, live_at=float(n), left_at=at, is_current=n == 5) for n, at in left
    ]
    plan = retention.plan(releases, keep=Keep(releases=1, failed=0, skew_protection=1100.0), now=2000.0)
    assert plan.keep == (release(5), release(4), release(3))
    assert "open" in plan.reasons[release(3)]
    bounded = retention.plan(releases, keep=Keep(releases=1, failed=0, skew_protection=0.0), now=2000.0)
    assert bounded.keep == (release(5), release(4))  # the last good one


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Candidate], Keep, set[ReleaseId]]:
    numbers = draw(st.lists(st.integers(0, 200), unique=True, max_size=12))
    made = [one(number, live=draw(st.none() | st.floats(0, 100)), bad=draw(st.booleans())) for number in numbers]
    if made and draw(st.booleans()):
        made[0] = one(numbers[0], live=draw(st.floats(0, 100)), current=True, bad=draw(st.booleans()))
    keep = Keep(releases=draw(st.integers(0, 6)), failed=draw(st.integers(0, 4)))
    protected = set(draw(st.lists(st.sampled_from(made), max_size=3))) if made else set()
    return made, keep, {candidate.id for candidate in protected}


@given(fleets())
def test_a_plan_decides_each_release_once_and_never_loses_what_must_stay(
    drawn: tuple[list[Candidate], Keep, set[ReleaseId]],
) -> None:
    releases, keep, protected = drawn
    plan = retention.plan(releases, keep=keep, protected=protected)
    assert sorted([*plan.keep, *plan.remove]) == sorted(candidate.id for candidate in releases)
    assert set(plan.reasons) == {candidate.id for candidate in releases}
    assert protected <= set(plan.keep)
    assert not [candidate for candidate in releases if candidate.is_current and candidate.id in plan.remove]
    good = [one for one in releases if one.was_live and not one.is_bad and not one.is_current]
    if good:
        newest = max(good, key=lambda candidate: (candidate.live_at or 0, candidate.id))
        assert newest.id in plan.keep
    live = [candidate for candidate in releases if candidate.was_live or candidate.is_current]
    kept_live = [candidate for candidate in live if candidate.id in plan.keep]
    assert len(kept_live) >= min(keep.releases, len(live))
    assert len(kept_live) <= max(keep.releases, 1) + 1 + len(protected)
    never = [candidate for candidate in releases if candidate not in live and candidate.id in plan.keep]
    assert len([candidate for candidate in never if candidate.id not in protected]) <= keep.failed


@given(fleets())
def test_a_plan_carried_out_has_nothing_more_to_remove(
    drawn: tuple[list[Candidate], Keep, set[ReleaseId]],
) -> None:
    releases, keep, protected = drawn
    plan = retention.plan(releases, keep=keep, protected=protected)
    left = [candidate for candidate in releases if candidate.id in plan.keep]
    assert retention.plan(left, keep=keep, protected=protected).remove == ()


def status_of(running: int, wanted: int, *, config: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "current": release(1), "epoch": 1, "since": 5.0, "config": config or {}, "disk_free": 1,
        "lock": {"held": False},
        "releases": [{"id": release(1), "state": "current", "was_live": True, "live_at": 5.0, "sealed_at": 4.0,
                      "bytes": 3, "commit": "c", "instances": {"running": running, "wanted": wanted, "restarts": 7}, "memory": None}],
    }  # fmt: skip


@pytest.mark.parametrize(("running", "wanted", "state"), [(2, 2, "live"), (1, 2, "degraded"), (0, 1, "down")])
def test_the_state_of_a_host(running: int, wanted: int, state: str) -> None:
    pool = Pool.of({WEB1: FakeTransport(lambda *_: status_of(running, wanted))})
    (found,) = supervise.status(pool, [WEB1], app=APP, environment=ENVIRONMENT)
    assert (found.state, found.instances, found.wanted, found.url) == (state, running, wanted, "http://192.0.2.1")
    assert found.restarts == 7


def test_a_host_that_cannot_be_asked_is_in_the_list() -> None:
    down = FakeTransport(name=WEB2)
    down.connect_error = UnreachableError("web2 is down", fix="start it")
    config = {"domains": ["*.b.test", "b.test"], "port": 8080}
    pool = Pool.of({WEB1: FakeTransport(lambda *_: status_of(1, 1, config=config)), WEB2: down})
    one_, two = supervise.status(pool, [WEB1, WEB2], app=APP, environment=ENVIRONMENT)
    assert one_.url == "http://b.test:8080"
    assert (two.state, two.release, two.error) == ("unreachable", None, down.connect_error)


class Logging:
    """A pool whose hosts have these lines, or raise."""

    def __init__(self, lines: dict[Any, Sequence[float] | BaseException]) -> None:
        self.lines = lines
        self.all_there = threading.Barrier(len(lines))

    def helper(self, name: Any) -> Any:
        found = self.lines[name]
        if isinstance(found, BaseException):
            raise found

        class One:
            def logs(_self, *_args: Any, follow: bool = False, cancel: Any = None, **_more: Any) -> Iterator[LogLine]:  # noqa: N805
                if follow:
                    self.all_there.wait(20)
                for at in found:
                    yield LogLine(host=name, time=at, release=None, instance=1, message=f"{name} {at}", stream="app")
                while follow and not cancel.wait(0.01):
                    continue

        return One()


def read(pool: Logging, **more: Any) -> list[str]:
    return [
        line.message
        for line in supervise.logs(pool, [WEB1, WEB2], app=APP, environment=ENVIRONMENT, **more)  # type: ignore[arg-type]
    ]


def test_logs_of_hosts_are_merged_by_time_and_only_the_last_shown() -> None:
    pool = Logging({WEB1: [1.0, 4.0], WEB2: [2.0, 3.0]})
    assert read(pool) == ["web1 1.0", "web2 2.0", "web2 3.0", "web1 4.0"]
    assert read(pool, lines=2) == ["web2 3.0", "web1 4.0"]


def test_one_host_that_is_down_does_not_hide_the_other() -> None:
    down = UnreachableError("web2 is down", fix="start it")
    found = read(Logging({WEB1: [1.0], WEB2: down}))
    assert found == ["web1 1.0", "no logs: web2 is down"]
    with pytest.raises(UnreachableError):
        read(Logging({WEB1: down, WEB2: down}))


def test_followed_logs_are_held_back_a_moment_to_be_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_HOLD_BACK", 0.5)
    pool = Logging({WEB1: [1.0, 4.0], WEB2: [2.0, 3.0]})
    lines = supervise.logs(pool, [WEB1, WEB2], app=APP, environment=ENVIRONMENT, follow=True)  # type: ignore[arg-type]
    assert [next(lines).time for _ in range(4)] == [1.0, 2.0, 3.0, 4.0]
    lines.close()  # type: ignore[attr-defined]
    assert not [one for one in threading.enumerate() if one.name.startswith("logs-")]
