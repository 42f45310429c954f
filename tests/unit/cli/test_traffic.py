"""`deployd traffic`: tables for people, lines for a pipe, a document for programs; and hosts that do not answer."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from deployd.cli import traffic as command
from deployd.domain.ids import HostName
from deployd.domain.traffic import Cell, HostTraffic, VitalCell
from deployd.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

R1 = "20261120-101530-aaaaaaa-aaaa"
R2 = "20261121-101530-3fa9c01-k2x7"
NOW = 1_795_290_000.0


def cell(host: str, route: str, count: int, *, release: str = R2, status: int = 2, bucket: int = 61) -> Cell:
    return Cell(
        start=NOW - 60, host=host, release=release, route=route, status=status, count=count, size=2048 * count,
        seconds=0.02 * count, buckets={bucket: count},
    )  # fmt: skip


class Counted:
    """What the hosts answer."""

    def __init__(self) -> None:
        self.answers: dict[HostName, HostTraffic | UnreachableError] = {}
        self.asked: list[float] = []

    def put(self, host: str, *cells: Cell, vitals: tuple[VitalCell, ...] = (), oldest: float | None = None) -> None:
        name = HostName(host)
        self.answers[name] = HostTraffic(
            host=name, now=NOW, since=NOW - 600, until=NOW, oldest=oldest, cells=cells, vitals=vitals
        )

    @contextmanager
    def reader(self, _app: object, _environment: object, *, hosts: object) -> Iterator[object]:
        assert hosts == tuple(self.answers)

        def read(seconds: float) -> dict[HostName, HostTraffic | UnreachableError]:
            self.asked.append(seconds)
            return self.answers

        yield read


@pytest.fixture
def counted(client):
    client.traffic = Counted()
    client.traffic.put(
        "web1", cell("web1", "/", 900), cell("web1", "/api", 30, status=5), cell("web1", "/x", 6, status=4)
    )
    client.traffic.put("web2", cell("web2", "/", 260), cell("web2", "/", 4, release=R1, bucket=120))
    return client.traffic


def test_tables_by_release_route_and_host(deployd, app, counted):
    done = deployd("traffic")
    assert done.exit == 0
    assert counted.asked == [900.0]
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert lines[0] == "shop production the last 10 m 00 s"
    assert "REQUESTS REQ/S 4XX 5XX P50 P95 P99 SENT RELEASE" in lines
    assert f"1,196 2.0 0.5 % 2.5 % 20.6 ms 21.4 ms 21.5 ms 2.3 MB {R2}" in lines
    assert f"4 0.0 0 % 0 % 3.43 s 3.56 s 3.57 s 8.0 kB {R1}" in lines
    assert [line.split()[-1] for line in lines if line.endswith(("web1", "web2"))] == ["web1", "web2"]
    assert [line.split()[-1] for line in lines if "/" in line.split(" ")[-1:][0][:1]] == ["/", "/api", "/x"]
    assert lines[-2].endswith("SENT ALL")
    assert lines[-1].startswith("1,200 2.0 0.5 % 2.5 %")


def test_one_kind_one_release_and_other_windows(deployd, app, counted):
    done = deployd("traffic", "--by", "host", "--since", "1h", "--release", R1)
    assert counted.asked == [3600.0]
    assert "web2" in done.out
    assert "web1" not in done.out
    assert "ROUTE" not in done.out
    bad = deployd("traffic", "--by", "moon")
    assert (bad.exit, "release, route, host" in bad.err) == (2, True)


def test_what_fails_is_shown_however_seldom_it_is(deployd, app, counted):
    many = [cell("web1", f"/page{number}", 1000 - number) for number in range(30)]
    counted.put("web1", *many, cell("web1", "/seldom", 1, status=5))
    out = deployd("traffic").out
    assert "/seldom" in out
    assert "/page29" not in out
    assert "more: --by route" in out
    assert "/page29" in deployd("traffic", "--by", "route").out


def test_the_document(deployd, app, counted):
    found = json.loads(deployd("traffic", "--json").out)
    assert (found["total"]["requests"], found["total"]["errors"], found["total"]["per_second"]) == (1200, 30, 2.0)
    assert [one["route"] for one in found["by_route"]] == ["/", "/api", "/x"]
    assert [one["name"] for one in found["hosts"]] == ["web1", "web2"]
    assert found["by_release"][0]["p50_ms"] == pytest.approx(20.6)


def test_nothing_yet_and_a_log_that_begins_later(deployd, app, counted):
    counted.put("web1", oldest=NOW - 90)
    counted.put("web2")
    out = deployd("traffic").out
    assert out == "shop production  the last 10 m 00 s (known: 1 m 30 s)\nno requests\n"


def test_a_host_that_does_not_answer_is_named(deployd, app, counted):
    gone = UnreachableError("web2 does not answer", host="web2", fix="see its power")
    counted.answers[HostName("web2")] = gone
    done = deployd("traffic")
    assert done.exit == 6
    assert "web2 is not counted: web2 does not answer" in done.err
    assert "930" in done.out or "936" in done.out
    counted.answers[HostName("web1")] = gone
    assert deployd("traffic").exit == 6


def test_following_draws_again_until_it_is_ended(deployd, app, counted, monkeypatch):
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", sleep)
    done = deployd("traffic", "-f")
    assert done.exit == 130
    assert len(done.out.splitlines()) == 3
    assert "requests=1,200 req/s=2.0 4xx=0.5% 5xx=2.5% p50=" in done.out
    pauses.clear()
    events = [json.loads(line) for line in deployd("traffic", "-f", "--json").out.splitlines()]
    assert [(one["seq"], one["event"], one["total"]["requests"]) for one in events] == [
        (number, "traffic", 1200) for number in (1, 2, 3)
    ]
    pauses.clear()
    drawn = deployd("traffic", "-f", terminal=True).out
    assert drawn.count("\x1b[2J") == 3
    assert (drawn.count("\x1b[?1049h"), drawn.count("\x1b[?1049l")) == (1, 1)  # what was on the screen is there again
    assert "the last 1 m 00 s" in drawn


def test_vitals(deployd, app, counted):
    told = VitalCell(
        start=NOW, host="web1", release=R2, route="/\x1b[31m", name="CLS", good=3, middling=0, poor=1, buckets={60: 4}
    )
    assert "no page has told of itself" in deployd("traffic", "--vitals").out
    counted.put("web1", vitals=(told,))
    lines = [" ".join(line.split()) for line in deployd("traffic", "--vitals", "--by", "route").out.splitlines()]
    assert lines[-2:] == ["METRIC TOLD P75 GOOD NEEDS IMPROVEMENT POOR ROUTE", "CLS 4 0.0193 75.0 % 0 % 25.0 % /"]
    found = json.loads(deployd("traffic", "--vitals", "--json").out)
    assert found["vitals_by_release"][0]["metrics"][0]["poor"] == 1
