"""What the real web server writes down of its requests, and how the helper counts it; what pages tell of themselves."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.fakehost import A, B, C
from tests.contract.test_web_app import Echo, app, echo

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.fakehost import FakeHost, Package
    from tests.contract.realweb import RealWeb

ROUTES = {"basePath": "", "staticRoutes": [{"page": "/"}], "dynamicRoutes": [{"page": "/blog/[slug]"}]}
LOGS = "var/lib/deployd-web/requests"


@pytest.fixture
def live(host: FakeHost, web: RealWeb) -> RealWeb:
    """A release of an app of Next.js, and one before it."""
    for release, version in ((A, "one"), (B, "two")):
        package = packed(version)
        host.live(release, package)
        echo(host, release)
    web.start()
    return web


def packed(version: str) -> Package:
    """An app of Next.js with its list of routes."""
    return app(version).with_files(**{".next/routes-manifest.json": json.dumps(ROUTES).encode()})


def counted(host: FakeHost, wanted: int, *options: str) -> dict[str, Any]:
    """The helper's answer, once it has so many requests: a request is written when it ends."""
    deadline = time.monotonic() + 60
    while True:
        reply = host.ok("traffic", "shop", "production", "--since", "5m", "--step", "0", *options).json
        if sum(row[4] for row in reply["series"]) >= wanted:
            return reply
        assert time.monotonic() < deadline, reply
        time.sleep(0.05)


def rows(reply: dict[str, Any]) -> dict[tuple[str, str, int], int]:
    return {(release, route, status): count for _, release, route, status, count, *_ in reply["series"]}


class Slow(Echo):
    """Streams events for a while, and takes its time for what is `/slow`."""

    asked, answers = threading.Event(), threading.Event()

    def do_GET(self) -> None:  # noqa: N802 - its names are the library's
        if self.path == "/slow":
            self.asked.set()
            self.answers.wait(60)
        if self.path != "/stream":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        for _ in range(5):
            self.wfile.write(b"data: x\n\n")
            self.wfile.flush()
            time.sleep(0.1)
        self.close_connection = True

    do_HEAD = do_GET  # noqa: N815 - its names are the library's


def test_streams_have_no_time_and_who_leaves_is_no_error(live: RealWeb, host: FakeHost) -> None:
    host.live(C, packed("three"))
    echo(host, C, Slow)
    assert live.ask("/stream").text.count("data") == 5
    assert live.ask("/blog/x", "HEAD").status == 200
    with socket.create_connection(("127.0.0.1", live.port)) as visitor:
        visitor.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        assert Slow.asked.wait(30)  # it is with the server, which has not answered, and then nobody waits for it
    reply = counted(host, 3)
    Slow.answers.set()
    assert rows(reply) == {(C, "/stream", 2): 1, (C, "/blog/[slug]", 2): 1, (C, "/slow", 4): 1}
    assert {row[2]: sum(row[7].values()) for row in reply["series"]} == {"/stream": 0, "/blog/[slug]": 1, "/slow": 1}


def test_odd_paths_are_counted_as_text_and_name_few_routes(live: RealWeb, host: FakeHost) -> None:
    odd = ["/" + "a" * 8000, "/%00%01%ff%fe", "/%e2%80%ae%1b[31m", "/a%0a%7b%22ts%22", "/" + "/".join("x" * 900)]
    for path in odd:
        live.ask(path)
    with socket.create_connection(("127.0.0.1", live.port)) as visitor:
        visitor.sendall(b"GET /\xff\xfe\x80 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while visitor.recv(1 << 16):
            pass
    for number in range(400):
        live.ask(f"/made-up-{number:x}z/{number}")
    reply = counted(host, len(odd) + 401)
    assert reply["skipped"] == 0
    names = {row[2] for row in reply["series"]}
    assert len(names) <= 63
    assert all(len(name) <= 200 and name.isprintable() for name in names)


def logged(host: FakeHost, kind: str = "requests") -> str:
    return (host.root / f"{LOGS}/{kind}-shop-production.log").read_text()


def test_requests_are_counted_by_release_route_and_status(live: RealWeb, host: FakeHost) -> None:
    for path in ("/", "/?secret=1", "/blog/a", "/blog/b?token=2", "/robots.txt", "/_next/static/two.js"):
        live.ask(path, Cookie="session=3", Authorization="Bearer 4", Referer="https://x/?five")
    live.ask(f"/blog/old?dpl={A}")
    live.ask("/_next/static/gone.js")
    live.ask("/.deployd/health")
    reply = counted(host, 7)
    assert rows(reply) == {
        (B, "/", 2): 2,
        (B, "/blog/[slug]", 2): 2,
        (B, "/*.txt", 2): 1,
        (A, "/blog/[slug]", 2): 1,
        (B, "/_next/static/*", 4): 1,  # a chunk that is nowhere breaks a tab, so it is counted
    }
    assert all(sum(buckets.values()) == row[4] for row in reply["series"] for buckets in (row[7],))
    text = logged(host)
    for private in ("127.0.0.1", "secret", "token", "session", "Bearer", "five", "dpl="):
        assert private not in text, private
    assert (host.root / LOGS).stat().st_mode & 0o77 == 0


def test_windows_follow_each_other_without_gap_or_overlap(live: RealWeb, host: FakeHost) -> None:
    since, seen = time.time() - 1, 0
    for _ in range(4):
        for _ in range(25):
            live.ask("/")
        reply = host.ok("traffic", "shop", "production", "--since", f"@{since:.6f}").json
        seen, since = seen + sum(row[4] for row in reply["series"]), reply["until"]
    deadline = time.monotonic() + 60
    while seen < 100 and time.monotonic() < deadline:
        reply = host.ok("traffic", "shop", "production", "--since", f"@{since:.6f}").json
        seen, since = seen + sum(row[4] for row in reply["series"]), reply["until"]
    assert seen == 100


def test_what_is_older_is_found_in_files_that_were_turned_over(host: FakeHost) -> None:
    host.configure(instances=1, memory=None, drain=30, domains=[], port=80)
    folder = host.root / LOGS
    folder.mkdir(parents=True)
    now = time.time()
    for number, (name, first) in enumerate(
        (
            ("-2026-11-21T09-50-00.000-size", 400),
            ("-2026-11-21T10-00-00.000-size", 300),
            ("-2026-11-21T10-05-00.000-size", 200),
            ("", 100),
        )
    ):
        path = folder / f"requests-shop-production{name}.log"
        lines(path, [now - first + second / 100 for second in range(9000)])
        os.utime(path, (now - first + 90, now - first + 90 + number))
    assert host.ok("traffic", "shop", "production").json["oldest"] == pytest.approx(now - 400, abs=0.01)
    (folder / "requests-shop-production-x-2026-11-21T10-05-00.000-size.log").write_text("another app's\n")
    (folder / "requests-shop-production-2026-11-21T10-06-00.000-size.log").symlink_to("/etc/passwd")
    whole = host.ok("traffic", "shop", "production", "--since", "10m", "--step", "0").json
    assert [row[4] for row in whole["series"]] == [36000]
    reply = host.ok(
        "traffic", "shop", "production", "--since", f"@{now - 250:.6f}", "--until", f"@{now - 150:.6f}"
    ).json
    assert sum(row[4] for row in reply["series"]) == pytest.approx(4000 + 5000, abs=2)
    assert reply["oldest"] == pytest.approx(now - 400, abs=0.01)


def lines(path: Path, moments: list[float]) -> None:
    text = "".join(
        f'{{"ts":{moment:.7f},"duration":0.01,"size":5,"status":200,"path":"/","release":"{B}"}}\n'
        for moment in moments
    )
    path.write_text(text)


def test_pages_tell_of_themselves_without_reaching_the_app(live: RealWeb, host: FakeHost) -> None:
    def tell(body: bytes, **headers: str) -> int:
        return live.ask("/_deployd/vitals", "POST", body, **headers).status

    good = {
        "id": "v1",
        "name": "LCP",
        "value": 1200.5,
        "rating": "good",
        "navigationType": "navigate",
        "path": "/blog/x",
    }
    assert tell(json.dumps(good).encode(), Sec_Fetch_Site="same-origin") == 204
    assert (
        live.ask(f"/_deployd/vitals?dpl={A}", "POST", json.dumps({**good, "id": "v2", "value": 5000}).encode()).status
        == 204
    )
    assert tell(b"no json", Sec_Fetch_Site="cross-site") == 403
    assert tell(b"x" * 20_000) == 413
    assert tell(b"x" * 9_000) == 204
    assert tell(b"\xff\xfe{") == 204
    assert live.ask("/_deployd/vitals").status == 405
    deadline = time.monotonic() + 60
    while (reply := host.ok("traffic", "shop", "production").json)["skipped"] < 2 or len(reply["vitals"]) < 2:
        assert time.monotonic() < deadline, reply
        time.sleep(0.05)
    found = {tuple(row[1:4]): row[4:7] for row in reply["vitals"]}
    assert found == {(B, "/blog/[slug]", "LCP"): [1, 0, 0], (A, "/blog/[slug]", "LCP"): [0, 0, 1]}
    assert reply["series"] == []
    assert len(logged(host, "vitals")) < 3000


def test_maintenance_is_no_error_of_the_app(live: RealWeb, host: FakeHost) -> None:
    host.ok("maintenance", "shop", "production", doc={"on": True, "allow": [], "page": None})
    assert live.ask("/").status == 503
    host.ok("maintenance", "shop", "production", doc={"on": False})
    live.ask("/")
    assert rows(counted(host, 1)) == {(B, "/", 2): 1}


def test_an_app_that_is_removed_leaves_no_log(live: RealWeb, host: FakeHost) -> None:
    live.ask("/")
    counted(host, 1)
    host.ok("remove-app", "shop", "production")
    assert list((host.root / LOGS).iterdir()) == []


def test_bad_windows_are_refused(host: FakeHost) -> None:
    host.configure(instances=1, memory=None, drain=30, domains=[], port=80)
    for bad in (("--since", "yesterday"), ("--since", "-1h"), ("--step", "100000"), ("--until", "@x"), ("--host", "a")):
        host.refused("traffic", "shop", "production", *bad, code="bad-request")
    assert host.ok("traffic", "shop", "production").json["series"] == []


def test_a_full_disk_costs_lines_and_no_request(host: FakeHost, web: RealWeb) -> None:
    folder = host.root / LOGS
    folder.mkdir(parents=True)
    for kind in ("requests", "vitals"):
        (folder / f"{kind}-shop-production.log").symlink_to("/dev/full")  # each write fails as on a full disk
    host.live(A, app("one"))
    echo(host, A)
    web.start()
    assert {web.ask(f"/{number}").status for number in range(30)} == {200}
    assert web.ask("/_deployd/vitals", "POST", b"{}").status == 204
    assert host.ok("traffic", "shop", "production").json["series"] == []
    assert "no space left on device" in (host.root / "caddy.log").read_text()
