"""The daemon's view of the traffic: collected, kept, asked for over the API, and in the metrics with few labels."""

from __future__ import annotations

import json
import time

import pytest

from deployd.daemon.visitors import RELEASES, ROUTES, Visitors
from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId, RolloutId
from deployd.domain.options import Options
from deployd.domain.traffic import Cell, HostTraffic
from deployd.rollouts.testing import FolderHost
from deployd.rollouts.wishes import RollbackWish, wish_to_json
from tests.unit.daemon.frame import Frame

PLACE = (AppName("shop"), EnvironmentName("production"))
R = "20261121-101530-3fa9c01-k2x7"
URL = "/v1/apps/shop/environments/production/traffic"


@pytest.fixture
def frame(tmp_path):
    made = Frame(tmp_path)
    yield made
    made.close()


@pytest.fixture
def live(frame, tmp_path):
    """A place where something was rolled out to two hosts, each of which counts a little."""
    store = frame.daemon.store
    hosts = (HostName("web1"), HostName("web2"))
    wish = RollbackWish(app=PLACE[0], environment=PLACE[1], hosts=hosts, options=Options(), release=ReleaseId(R))
    rollout = RolloutId("r-20261121-101530-k2x7ab")
    store.rollouts.add(
        rollout,
        app=PLACE[0],
        environment=PLACE[1],
        kind="rollback",
        wish=wish_to_json(wish),
        who="ada",
        owner="x",
        state="live",
    )
    store.live_log.add(*PLACE, release=ReleaseId(R), rollout=rollout)
    for name in hosts:
        FolderHost(name, tmp_path / "hosts" / name)
        rows = [[R, "/", 2, 90, 900, 1.8, {"60": 90}], [R, "/api", 5, 10, 50, 0.1, {"50": 10}]]
        (tmp_path / "hosts" / name / "traffic").write_text(json.dumps(rows))
    return frame


def test_who_looks_has_it_collected_first_and_each_host_asked_once(live, tmp_path):
    headers = live.token("read", "shop")
    reply = live.client.get(URL, headers=headers).json()
    assert (reply["total"]["requests"], reply["total"]["errors"], reply["total"]["error_share"]) == (200, 20, 0.1)
    assert [(one["route"], one["requests"]) for one in reply["by_route"]] == [("/", 180), ("/api", 20)]
    assert [one["host"] for one in reply["by_host"]] == ["web1", "web2"]
    assert reply["by_release"][0]["release"] == R
    assert live.client.get(URL, headers=headers).json()["total"]["requests"] == 200
    assert (tmp_path / "hosts/web1/calls").read_text().count("traffic") == 1
    assert live.client.get(f"{URL}?host=web2&release={R}", headers=headers).json()["total"]["requests"] == 100


def test_who_may_not_read_the_app_gets_nothing(live):
    assert live.client.get(URL).status_code == 401
    assert live.client.get(URL, headers=live.token("read", "blog")).status_code in {403, 404}


def test_a_host_that_is_away_is_named_and_the_other_one_counted(live, tmp_path):
    (tmp_path / "hosts/web1/down").touch()
    reply = live.local.get(URL).json()
    errors = {one["name"]: (one["error"] or {}).get("code") for one in reply["hosts"]}
    assert errors == {"web1": "host-unreachable", "web2": None}
    assert reply["total"]["requests"] == 100


def test_the_part_collects_by_itself_and_metrics_tell(live):
    live.daemon.collector.look(live.daemon)
    text = live.client.get("/metrics", headers=live.token("read")).text
    labels = f'app="shop",environment="production",release="{R}"'
    assert f'deployd_visitor_requests_total{{{labels},route="/api",status="5xx"}} 20.0' in text.replace("', ", ",")
    assert f"deployd_visitor_seconds_count{{{labels}}} 200.0" in text


def test_metrics_stay_few_whatever_comes():
    visitors = Visitors()
    for number in range(40):
        cells = tuple(
            Cell(
                start=0, host="web1", release=f"r{number:03}", route=f"/{number}-{route}", status=2, count=1, size=1,
                seconds=0.1, buckets={60: 1},
            )
            for route in range(60)
        )  # fmt: skip
        found = HostTraffic(host="web1", now=time.time(), since=0, until=1, oldest=None, cells=cells, vitals=())
        visitors.count(PLACE, found)
    requests = next(iter(visitors.collect()))
    assert {sample.labels["release"] for sample in requests.samples} == {f"r{39 - n:03}" for n in range(RELEASES)}
    assert len({sample.labels["route"] for sample in requests.samples}) <= ROUTES + 1
    assert sum(sample.value for sample in requests.samples) == RELEASES * 60
