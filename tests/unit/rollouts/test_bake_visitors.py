"""Bakes of five minutes with made-up visitors, by a made-up clock: the helper's own counting, and what is said of it."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from deployd.domain import counted
from deployd.domain.ids import HostName, ReleaseId
from deployd.domain.options import Options, Waves
from deployd.rollouts import baking

sys.path.insert(0, str(Path(__file__).parents[3] / "playbooks/files"))

from deployd_host.routes import Routes
from deployd_host.tally import Tally

OLD, NEW = ReleaseId("20261121-101530-3fa9c01-k2x7"), ReleaseId("20261121-111530-4fa9c01-m3y8")
FLIP, BAKE = 1_795_290_000.0, 300.0
PAGES = ["/", "/shop", "/checkout", "/blog/[slug]", "/events"]


class Fleet:
    """Hosts with their web servers' lines. `now` is everybody's clock."""

    def __init__(self, hosts: int = 1, others: int = 0) -> None:
        self.now = FLIP
        self.lines: dict[HostName, list[tuple[float, bytes]]] = {
            HostName(f"web{number}"): [] for number in range(1, hosts + others + 1)
        }
        self.names = list(self.lines)
        self.random = random.Random(7)
        self.routes = Routes(PAGES, made_when_asked=["/blog/[slug]"])
        previous = dict.fromkeys(self.names, OLD)
        self.rollout = SimpleNamespace(
            app="shop", environment="production", pool=self, options=Options(waves=Waves(bake=BAKE)), report=lambda *_, **__: 0
        )  # fmt: skip
        mine, rest = self.names[:hosts], self.names[hosts:]
        self.watch = baking._Watch(
            self.rollout, NEW, {name: previous[name] for name in mine}, {name: previous[name] for name in rest}
        )

    def each(self, hosts, _do) -> dict:
        return {name: SimpleNamespace(current=NEW, since=FLIP) for name in hosts}

    def visit(self, path, *, of=NEW, every=1.0, begin=5.0, end=BAKE, ms=20.0, status=200, on=None, **more) -> None:
        """Visits from `begin` to `end` after the flip; path, milliseconds and status may be functions of the moment."""
        for name in on or self.names:
            at = begin
            while at < end:
                fields = {
                    "duration": self._of(ms, at) * self.random.uniform(0.8, 1.25) / 1000,
                    "size": 5, "status": self._of(status, at), "release": of, "path": self._of(path, at), **more,
                }  # fmt: skip
                self.lines[name].append((FLIP + at, json.dumps(fields).encode()))
                at += every * self.random.uniform(0.5, 1.5)

    def before(self, path, **more) -> None:
        """The same of the release before, in the time before the flip."""
        self.visit(path, **{"of": OLD, "begin": -BAKE, "end": 0.0, **more})

    def _of(self, value, at):
        return value(at) if callable(value) else value

    def traffic(self, _pool, hosts, *, since, until=None, skip_first=False, **_):
        answers = {}
        for name in hosts:
            begin = self.now - int(since[:-1]) if isinstance(since, str) else since[name]
            end = min(self.now, (until or {}).get(name, self.now))
            tally = Tally(begin, 0, lambda _release: self.routes, warm=not skip_first)
            for moment, line in sorted(self.lines[name]):
                if begin <= moment < end:
                    tally.add(moment, line)
            found = {"now": self.now, "since": begin, "until": end, "oldest": None, "vitals": []}
            answers[name] = counted.from_json({**found, "series": json.loads(json.dumps(tally.series()))}, host=name)
        return answers

    def bake(self, monkeypatch):
        """What is said first against the release, with the seconds after the flip; or what is said at the end."""
        monkeypatch.setattr(baking.supervise, "traffic", self.traffic)
        while True:
            self.now += self.watch.pause
            verdict, left = self.watch.look()
            if verdict.outcome == "worse" or left <= 0:
                return verdict, self.now - FLIP


def cold(at: float) -> float:
    """Milliseconds while a cache fills."""
    return 900.0 if at < 60 else 20.0


def flaky(share: float):
    draws = random.Random(3)
    return lambda _at: 500 if draws.random() < share else 200


def pick(*paths: str):
    draws = random.Random(4)
    return lambda _at: draws.choice(paths)


def few(fleet: Fleet) -> None:
    fleet.before("/", every=40)
    fleet.visit("/", every=40, status=flaky(0.4))


def bots(fleet: Fleet) -> None:
    fleet.before("/", every=1)
    fleet.visit("/", every=1)
    fleet.visit(lambda at: f"/wp-{at:.3f}.php", every=0.2, begin=100, end=160, status=404, ms=2)


def burst(fleet: Fleet) -> None:
    fleet.before("/", every=2, status=flaky(0.02))
    fleet.visit("/", every=0.1, status=flaky(0.02), begin=50, end=150)


def slow_service(fleet: Fleet) -> None:
    fleet.before("/shop", every=1, ms=2500)
    fleet.visit("/shop", every=1, ms=2800)


def caches_fill(fleet: Fleet) -> None:
    fleet.before("/shop", every=0.5)
    fleet.visit("/shop", every=0.5, ms=cold)


def pages_made_when_asked(fleet: Fleet) -> None:
    """A thousand posts, asked for seldom: each one's first answer takes long, in the bake as ever."""
    posts, seen, asked = pick(*(f"/blog/{number}" for number in range(1000))), set[str](), [""]

    def ms(at: float) -> float:  # it is drawn before the path of the same visit
        asked[0] = posts(at)
        first = asked[0] not in seen
        seen.add(asked[0])
        return 700.0 if first else 4.0

    fleet.before(posts, every=0.3, ms=4.0)
    fleet.visit(lambda _at: asked[0], every=0.3, ms=ms)


def images(fleet: Fleet) -> None:
    fleet.before("/_next/image", every=0.5, ms=3)
    fleet.visit("/_next/image", every=0.5, ms=pick_ms(3, 600, 0.3))


def pick_ms(quick: float, slow: float, share: float):
    draws = random.Random(5)
    return lambda _at: slow if draws.random() < share else quick


def streams(fleet: Fleet) -> None:
    """The release before had just been released itself, so its streams were young."""
    fleet.before("/events", every=1, ms=20_000, stream="yes")
    fleet.visit("/events", every=1, ms=lambda at: at * 1000, stream="yes")


def sockets(fleet: Fleet) -> None:
    fleet.before("/events", every=1, ms=20_000, status=101)
    fleet.visit("/events", every=1, ms=lambda at: at * 1000, status=101)


def visitors_who_leave(fleet: Fleet) -> None:
    fleet.before("/shop", every=1)
    fleet.visit("/shop", every=1)
    fleet.visit("/shop", every=3, ms=15, status=499)


def asked_with_head(fleet: Fleet) -> None:
    fleet.before("/", every=1)
    fleet.visit("/", every=1)
    fleet.visit("/", every=0.3, ms=0.4, status=405)


def a_canary_before(fleet: Fleet) -> None:
    """One visitor in ten had the new release before the flip, with errors that it has still: it was so before, too."""
    fleet.before("/", every=1)
    fleet.before("/", every=10, of=NEW, status=500)
    fleet.visit("/", every=1)


@pytest.mark.parametrize(
    "visitors",
    [
        bots, burst, slow_service, caches_fill, pages_made_when_asked, images, streams, sockets, visitors_who_leave,
        asked_with_head, a_canary_before,
    ],
)  # fmt: skip
def test_stays(visitors, monkeypatch):
    fleet = Fleet()
    visitors(fleet)
    verdict, seconds = fleet.bake(monkeypatch)
    assert verdict.outcome in {"fine", "little"}, verdict
    assert seconds >= BAKE


def test_few_visitors_say_little(monkeypatch):
    fleet = Fleet()
    few(fleet)
    assert fleet.bake(monkeypatch)[0].outcome == "little"


def test_errors_of_one_route_among_many(monkeypatch):
    fleet = Fleet(hosts=3)
    for path in PAGES:
        fleet.before(path, every=2)
        fleet.visit(path, every=2, status=flaky(0.3) if path == "/checkout" else 200)
    verdict, seconds = fleet.bake(monkeypatch)
    assert (verdict.outcome, verdict.route) == ("worse", "/checkout")
    assert verdict.what.endswith("before, route /checkout")
    assert seconds < 60


def test_one_host_alone_that_fails_is_named(monkeypatch):
    fleet = Fleet(hosts=4)
    fleet.before("/", every=1)
    fleet.visit("/", every=1, on=[HostName("web1"), HostName("web2"), HostName("web4")])
    fleet.visit("/", every=1, on=[HostName("web3")], status=502)
    verdict, seconds = fleet.bake(monkeypatch)
    assert verdict.what.endswith("route /, on web3")
    assert seconds < 60


def test_one_that_stays_slow(monkeypatch):
    fleet = Fleet()
    fleet.before("/shop", every=1)
    fleet.visit("/shop", every=1, ms=900)
    verdict, seconds = fleet.bake(monkeypatch)
    assert verdict.what.startswith("p95 ")
    assert verdict.what.endswith("route /shop")
    assert BAKE / 3 <= seconds <= BAKE / 2


def test_one_that_hangs_until_visitors_leave(monkeypatch):
    fleet = Fleet()
    fleet.before("/shop", every=1)
    fleet.visit("/shop", every=1, begin=15, ms=10_000, status=499)
    assert fleet.bake(monkeypatch)[0].outcome == "worse"


def test_a_service_that_breaks_for_all_hosts_is_no_fault_of_the_first_wave(monkeypatch):
    fleet = Fleet(hosts=1, others=2)
    fleet.before("/shop", every=1)
    down = {"every": 1, "status": flaky(0.5)}
    fleet.visit("/shop", on=[HostName("web1")], **down)
    fleet.visit("/shop", on=[HostName("web2"), HostName("web3")], of=OLD, **down)
    verdict, _ = fleet.bake(monkeypatch)
    assert verdict.outcome == "fine"
    assert "so it is with the release before" in verdict.what


def test_what_is_worse_than_a_broken_service_is_told(monkeypatch):
    fleet = Fleet(hosts=1, others=2)
    fleet.before("/shop", every=1)
    fleet.visit("/shop", on=[HostName("web1")], every=1, status=500)
    fleet.visit("/shop", on=[HostName("web2"), HostName("web3")], of=OLD, every=1, status=flaky(0.2))
    assert fleet.bake(monkeypatch)[0].outcome == "worse"
