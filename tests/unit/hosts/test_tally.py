"""Lines of the web server in, a series out: routes that visitors cannot multiply, times that add up."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployd.domain import counted, traffic
from deployd.domain.ids import HostName
from deployd_host.routes import Routes, folded
from deployd_host.tally import MOST_BEACONS, MOST_ROUTES, Tally, Vitals, beacon_of, bucket

R = "20261121-101530-3fa9c01-k2x7"
NEXT = Routes(["/", "/about", "/blog/[slug]", "/docs/[...path]", "/shop/[[...all]]", "/api/items/[id]", "/blog/new"])


def line(path: str = "/", status: int = 200, seconds: float = 0.02, release: str = R, **extra: object) -> bytes:
    entry = {"ts": 1.5, "duration": seconds, "size": 100, "status": status, "path": path, "release": release, **extra}
    return json.dumps(entry).encode()


def tally(*lines: tuple[float, bytes], step: int = 60, routes: Routes = NEXT, warm: bool = True) -> Tally:
    made = Tally(0.0, step, lambda _: routes, warm=warm)
    for moment, text in lines:
        made.add(moment, text)
    return made


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("/about", "/about"),
        ("/about/", "/about"),
        ("/blog/hello-world", "/blog/[slug]"),
        ("/blog/new", "/blog/new"),
        ("/docs/a/b/c", "/docs/[...path]"),
        ("/shop", "/shop/[[...all]]"),
        ("/shop/x/y", "/shop/[[...all]]"),
        ("/api/items/77", "/api/items/[id]"),
        ("/_next/data/abc/blog/x.json", "/blog/[slug]"),
        ("/_next/data/abc/index.json", "/"),
        ("/about.rsc", "/about"),
        ("/blog/x.segments/_tree.segment.rsc", "/blog/[slug]"),
        ("/_next/static/chunks/1.js", "/_next/static/*"),
        ("/_next/image", "/_next/image"),
        ("/wp-admin/setup.php", "/wp-admin/*.php"),
    ],
)
def test_paths_of_next(path: str, route: str) -> None:
    assert NEXT.of(path)[0] == route


def test_base_path_and_locales() -> None:
    routes = Routes(["/", "/blog/[slug]"], base="/shop", locales=["de", "en"])
    assert routes.of("/shop/de/blog/x") == ("/shop/blog/[slug]", True)
    assert routes.of("/shop") == ("/shop/", True)
    assert routes.of("/else") == ("/else", False)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/users/12345/orders", "/users/[id]/orders"),
        ("/a/b/c/d/e", "/a/b/c/*"),
        ("/f/3f2504e0-4f89-41d3-9a0c-0305e82c3301", "/f/[id]"),
        ("/img/logo.png", "/img/*.png"),
        ("/v1.2", "/v1.2"),
        ("/u/ada@example.com/orders", "/u/[id]/orders"),  # nobody's address is kept
        ("/" + "x" * 300, "/[id]"),
        ("//a///b", "/a/b"),
        ("/a\x1b[31m", "/a?[31m"),
    ],
)
def test_paths_without_a_list_are_folded(path: str, route: str) -> None:
    assert folded(path) == route


@given(st.text(max_size=300))
def test_any_path_has_a_short_route(path: str) -> None:
    route, _ = NEXT.of("/" + path)
    assert route.startswith("/")
    assert len(route) <= 210
    assert route.isprintable()


def test_a_series_has_counts_bytes_and_times() -> None:
    made = tally((10, line()), (20, line(seconds=0.04)), (70, line("/about", 500)), (75, line("/x", 404)))
    found = made.series()
    assert [row[:6] for row in found] == [
        [0, R, "/", 2, 2, 200],
        [60, R, "(not found)", 4, 1, 100],
        [60, R, "/about", 5, 1, 100],
    ]
    assert found[0][6] == pytest.approx(0.06)
    assert found[0][7] == {str(bucket(20)): 1, str(bucket(40)): 1}


def test_what_is_no_line_of_ours_is_skipped() -> None:
    bad = [b"", b"{", b"[]", b'"x"', b"{}", line(status=99), line(release=""), line("x"), line(seconds=math.nan)]
    bad += [line(duration=None), json.dumps({"ts": 1, "status": 200}).encode(), b"[" * 100_000]
    made = tally(*((1.0, text) for text in bad))
    assert (made.series(), made.skipped) == ([], len(bad))


def test_made_up_paths_do_not_push_known_routes_out() -> None:
    noise = [(1.0, line(f"/page-{chr(97 + n % 26)}{chr(97 + n // 26)}/x")) for n in range(600)]
    made = tally(*noise, (1.0, line("/about")), *[(1.0, line(f"/zz{n}", 404)) for n in range(3000)])
    routes = {row[2]: row[4] for row in made.series()}
    assert routes["/about"] == 1
    assert routes["(not found)"] == 3000
    assert len(routes) <= MOST_ROUTES + 2
    assert sum(routes.values()) == 3601


def test_the_first_request_of_a_route_is_left_out_of_the_times_alone() -> None:
    made = tally((1, line(seconds=3)), (2, line()), (3, line(status=500)), (4, line("/about", seconds=2)), warm=False)
    rows = {(row[2], row[3]): row for row in made.series()}
    assert rows["/", 2][4] == 2
    assert rows["/", 2][7] == {str(bucket(20)): 1}
    assert rows["/about", 2][7] == {}


@given(st.lists(st.floats(0.0005, 500), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_percentiles_are_right_within_a_bucket(seconds: list[float], share: float) -> None:
    made = tally(*((1.0, line(seconds=one)) for one in seconds))
    document = {
        "now": 5, "since": 0, "until": 4, "oldest": None, "series": json.loads(json.dumps(made.series())), "vitals": [],
    }  # fmt: skip
    found = counted.from_json(document, host=HostName("web1"))
    value = traffic.quantile(traffic.total(found.cells).buckets, share)
    exact = sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)] * 1000
    assert value is not None
    assert exact / 1.1 <= value <= max(0.11, exact * 1.1)


def beacon(name: str = "LCP", value: object = 1200, path: object = "/blog/x?q=1", identity: object = "v3-1") -> str:
    return json.dumps({"name": name, "value": value, "path": path, "id": identity, "rating": "good", "delta": 1})


def told(*texts: str, routes: Routes = NEXT) -> Vitals:
    made = Vitals(0.0, 60, lambda _: routes)
    for text in texts:
        made.add(5.0, line("/_deployd/vitals", 204, beacon=text))
    return made


def test_vitals_are_rated_by_their_value() -> None:
    texts = [beacon(value=value, identity=f"v{value}") for value in (1200, 2500, 2501, 4001)]
    assert [row[:7] for row in told(*texts).series()] == [[0, R, "/blog/[slug]", "LCP", 2, 1, 1]]
    shift = told(beacon("CLS", 0.12)).series()
    assert shift[0][4:7] == [0, 1, 0]
    cells = counted.from_json(
        {"now": 1, "since": 0, "until": 1, "oldest": None, "series": [], "vitals": shift}, host=HostName("web1")
    ).vitals
    assert traffic.vitals_by(cells, "route")["/blog/[slug]"][0].p75 == pytest.approx(0.12, rel=0.1)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "[]", "null", "1", "{}", beacon("Next.js-hydration"), beacon(value="1"), beacon(value=True),
        beacon(value=-1), beacon(value=1e9), '{"name":"LCP","value":NaN}', '{"name":["LCP"],"value":1}',
        '{"name":{"a":1},"value":1}', beacon(path="/" + "x" * 5000), "request body: too large", "[" * 4000,
    ],
)  # fmt: skip
def test_what_a_stranger_sends_is_dropped(text: str) -> None:
    made = told(text)
    assert (made.series(), made.skipped) == ([], 1)


@given(st.text(max_size=500) | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(repr))
def test_no_beacon_raises(text: str) -> None:
    assert told(text).series() == []


def test_odd_paths_of_pages_are_the_first_page_and_made_up_ones_are_other() -> None:
    made = told(
        beacon(path=7, identity="a"), beacon(path="//evil", identity="b"), beacon(path="/made/up", identity="c")
    )
    assert {row[2]: row[4] for row in made.series()} == {"/": 1, "(other)": 2}
    assert beacon_of(beacon(path="/x#y")) == ("LCP", 1200.0, "/x", "v3-1")


def test_what_is_told_twice_counts_once_and_a_flood_is_cut() -> None:
    assert told(beacon(), beacon()).series()[0][4] == 1
    flood = told(*(beacon(identity=f"v{n}") for n in range(MOST_BEACONS + 50)))
    assert flood.series()[0][4] == MOST_BEACONS
    assert flood.skipped == 50
