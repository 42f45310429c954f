"""configure, start, probe, logs: units and sites from checked values, and what a person is told when a server fails."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.contract.fakehost import A, B, Package
from tests.support.stopping import stop

if TYPE_CHECKING:
    from tests.contract.fakehost import FakeHost
    from tests.contract.realweb import RealWeb

APP = ("shop", "production")
PROBE: dict[str, Any] = {
    "path": "/", "status": [200], "timeout": 3, "interval": 0.05, "successes": 2, "request_timeout": 1, "host": None,
    "warm": ["/a", "/b"],
}  # fmt: skip


def units(host: FakeHost) -> dict[str, str]:
    return {path.name: path.read_text() for path in (host.root / "etc/systemd/system").iterdir()}


def sites(host: FakeHost) -> dict[str, str]:
    return {path.name: path.read_text() for path in (host.root / "etc/deployd/web/sites").iterdir()}


def test_configure_writes_templates_and_reloads_once(host: FakeHost) -> None:
    config = {"instances": 3, "memory": 1 << 29, "drain": 12.4, "domains": [], "port": 80}

    assert host.ok("configure", *APP, "--check", doc=config)["changed"] == ["units", "site"]
    assert not (host.root / "etc/systemd/system").exists()
    assert host.configure(**config)["changed"] == ["units", "site"]
    assert host.configure(**config)["changed"] == []

    made = units(host)
    assert sorted(made) == [
        "deployd-shop-production-1@.service", "deployd-shop-production-2@.service",
        "deployd-shop-production-3@.service", "deployd-shop-production@.socket",
    ]  # fmt: skip
    assert host.calls().count("daemon-reload") == 1
    first, socket = made["deployd-shop-production-1@.service"], made["deployd-shop-production@.socket"]
    for line in (
        "Wants=deployd-shop-production-2@%i.service deployd-shop-production-3@%i.service",
        "Sockets=deployd-shop-production@%i.socket",
        "User=dpl-shop-production", "DynamicUser=yes", "StartLimitIntervalSec=0", "Restart=always", "RestartSec=1",
        "SuccessExitStatus=143 75", "RestartPreventExitStatus=75", "MemoryMax=536870912", "TimeoutStopSec=12",
        f"BindReadOnlyPaths={host.root}/srv/deployd/runtimes {host.path()}".rstrip("/"),
    ):  # fmt: skip
        assert line in first.splitlines()
    assert "Wants=" not in made["deployd-shop-production-2@.service"]
    for line in ("TriggerLimitIntervalSec=0", "RemoveOnStop=yes", "SocketGroup=caddy", "SocketMode=0660"):
        assert line in socket.splitlines()


def test_fewer_instances_take_their_templates_away(configured: FakeHost) -> None:
    configured.configure(instances=1, memory=None, drain=30, domains=[], port=80)

    assert "deployd-shop-production-2@.service" not in units(configured)
    assert "Wants=" not in units(configured)["deployd-shop-production-1@.service"]


def test_a_release_needs_no_daemon_reload(configured: FakeHost) -> None:
    before = configured.calls().count("daemon-reload")
    configured.live(A)
    configured.live(B)
    configured.ok("prune", *APP, doc={"keep": [], "protect": []})

    assert configured.calls().count("daemon-reload") == before


def test_long_names_make_users_that_systemd_takes(host: FakeHost) -> None:
    for app in ("a-very-long-name-of-an-app-a", "a-very-long-name-of-an-app-b"):
        host.ok("configure", app, "staging", doc={"domains": [f"{app}.test"]})

    users = {
        line.removeprefix("User=") for text in units(host).values() for line in text.splitlines() if line[:5] == "User="
    }
    assert len(users) == 2
    assert all(len(user) <= 31 for user in users)


def test_a_domain_belongs_to_one_app(host: FakeHost) -> None:
    host.configure(domains=["shop.test", "www.shop.test"])
    taken = {"domains": ["other.test", "www.shop.test"]}

    reply = host.refused("configure", "blog", "production", doc=taken, code="domain-taken")
    assert reply["details"] == {"app": "shop", "environment": "production"}
    host.refused("configure", "blog", "production", "--check", doc=taken, code="domain-taken")
    assert sorted(sites(host)) == ["default.caddy", "shop-production.caddy"]
    host.ok("configure", "blog", "production", doc={"domains": ["www.shop.test"], "port": 8080})
    host.ok("configure", "wiki", "production", doc={"domains": []})
    host.refused("configure", "last", "production", doc={"domains": []}, code="domain-taken")
    apps = ["blog-production.caddy", "default.caddy", "shop-production.caddy", "wiki-production.caddy"]
    assert sorted(sites(host)) == apps
    assert "http://www.shop.test:8080 {" in sites(host)["blog-production.caddy"]
    assert "import plain\n" not in sites(host)["blog-production.caddy"]
    assert "http:// {" not in sites(host)["default.caddy"]


def test_a_port_that_another_program_has(host: FakeHost) -> None:
    proc = host.root / "proc/net"
    proc.mkdir(parents=True)
    head = "  sl  local_address rem_address   st\n"
    (proc / "tcp").write_text(head + "   0: 00000000:1F90 00000000:0000 0A 0 0 0 0 0 0 4711\n")

    host.refused("configure", *APP, doc={"port": 8080}, code="port-taken")
    host.ok("configure", *APP, doc={"port": 8081})


def test_a_site_that_caddy_refuses_changes_nothing(host: FakeHost) -> None:
    (host.bin / "fail-caddy").touch()

    reply = host.refused("configure", *APP, doc={}, code="web-refused")

    assert "unrecognized directive" in reply["details"]
    assert not (host.root / "etc/systemd/system").exists()
    assert not (host.root / "etc/deployd/web/sites").exists()


def test_a_reload_that_fails_leaves_the_old_sites(configured: FakeHost) -> None:
    before = sites(configured)
    (configured.bin / "fail-reload-or-restart").touch()

    configured.refused("configure", *APP, doc={"domains": ["new.test"]}, code="web-reload-failed")

    assert sites(configured) == before


def test_web_setup_is_for_root_and_idempotent(host: FakeHost) -> None:
    assert host.ok("web-setup")["changed"] == ["site"]
    assert host.ok("web-setup")["changed"] == []
    assert sorted(sites(host)) == ["default.caddy"]
    assert host.calls()[-1] == "try-reload-or-restart deployd-web.service"


def test_start_starts_the_socket_and_every_instance(configured: FakeHost) -> None:
    configured.start(A)

    name = "deployd-shop-production"
    assert configured.calls()[-1] == f"start {name}@{A}.socket {name}-1@{A}.service {name}-2@{A}.service"
    configured.ok("start", *APP, A)


def test_start_that_fails_shows_the_servers_last_lines(configured: FakeHost) -> None:
    configured.seal(A)
    (configured.bin / "fail-start").touch()
    journal(configured, "boom")

    reply = configured.refused("start", *APP, A, code="start-failed")

    assert reply["details"]["log"] == ["boom"]


def test_start_without_configuration(host: FakeHost) -> None:
    host.seal(A)

    host.refused("start", *APP, A, code="not-configured")


def journal(host: FakeHost, *messages: str, unit: str = f"deployd-shop-production-1@{A}.service") -> None:
    lines = [{"_SYSTEMD_UNIT": unit, "__REALTIME_TIMESTAMP": "1700000000123456", "MESSAGE": text} for text in messages]
    (host.bin / "journal").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_probe_answers_and_warms_up(configured: FakeHost) -> None:
    configured.start(A)
    configured.serve(A)

    reply = configured.ok("probe", *APP, A, doc=PROBE)

    assert (reply["attempts"], reply["status"]) == (2, 200)
    assert [(one["path"], one["status"]) for one in reply["warmed"]] == [("/a", 200), ("/b", 200)]
    assert all(1 < one["times"] <= 50 for one in reply["warmed"])


def test_going_back_does_not_wait_for_warming(configured: FakeHost) -> None:
    configured.live(A)
    configured.live(B)
    configured.serve(A)

    reply = configured.ok("probe", *APP, A, doc=PROBE)

    assert [(one["status"], one["times"]) for one in reply["warmed"]] == [(200, 1), (200, 1)]


def test_a_page_that_answers_badly_is_not_warmed_again(configured: FakeHost) -> None:
    configured.start(A)
    configured.serve(A, status=404)

    reply = configured.ok("probe", *APP, A, doc=PROBE | {"status": [404]})

    assert [(one["status"], one["times"]) for one in reply["warmed"]] == [(404, 1), (404, 1)]


def test_probe_says_all_it_knows_when_a_release_is_not_healthy(configured: FakeHost) -> None:
    configured.live(B)
    configured.start(A)
    configured.serve(A, status=500)
    journal(configured, "cannot reach the database")

    for seconds in (0.5, 2, 8):  # until it could ask that often
        reply = configured.refused("probe", *APP, A, doc=PROBE | {"timeout": seconds}, code="probe-failed")
        details = reply["details"]
        if details["attempts"] > 2:
            break

    assert reply["live"] == B
    assert (details["last_status"], details["log"]) == (500, ["cannot reach the database"])
    assert details["attempts"] > 2
    assert f"{A}.sock" in details["address"]
    assert 0.6 * seconds < details["waited_s"] < 60


def next_app(**routes: Any) -> Package:
    """A Next.js app with a distDir of its own."""
    files = {"server.js": b"serve()", ".deployd/listen.cjs": b"listen()", "web/made/static/a.js": b"a"}
    files["web/made/routes-manifest.json"] = json.dumps({"staticRoutes": [], "dynamicRoutes": []} | routes).encode()
    return Package(files, assets={"/cdn/_next/static": "web/made/static", "/docs/_next/static": "web/made/static"})


def test_probe_asks_at_the_base_path_when_nobody_said_where(configured: FakeHost) -> None:
    configured.start(A, next_app(basePath="/docs", staticRoutes=[{"page": "/"}]))
    configured.serve(A, status=404)

    said = configured.refused("probe", *APP, A, doc=PROBE | {"timeout": 0.3}, code="probe-failed")
    assert ".sock /docs " in said["details"]["address"]
    other = configured.refused("probe", *APP, A, doc=PROBE | {"timeout": 0.3, "path": "/up"}, code="probe-failed")
    assert ".sock /up " in other["details"]["address"]


def test_probe_takes_a_404_of_an_app_without_a_first_page(configured: FakeHost) -> None:
    configured.start(A, next_app(basePath="", dynamicRoutes=[{"page": "/api/[name]"}]))
    configured.serve(A, status=404)

    assert configured.ok("probe", *APP, A, doc=PROBE)["status"] == 404
    configured.refused("probe", *APP, A, doc=PROBE | {"timeout": 0.3, "path": "/up"}, code="probe-failed")


def test_probe_does_not_wait_for_a_server_that_keeps_exiting(configured: FakeHost) -> None:
    configured.start(A)
    restarts = configured.bin / "restarts"
    restarts.write_text("2")
    fast = PROBE | {"timeout": 60}
    started = time.monotonic()
    (configured.bin / "systemctl").write_text(
        (configured.bin / "systemctl")
        .read_text()
        .replace("restarts=0;", 'echo $(( $(cat "$here/restarts") + 1 )) > "$here/restarts"; restarts=0;')
    )

    reply = configured.refused("probe", *APP, A, doc=fast, code="probe-failed")

    assert reply["details"]["exited"] is True
    assert reply["details"]["restarts"] >= 3
    assert time.monotonic() - started < 50


def test_probe_of_a_release_without_socket(configured: FakeHost) -> None:
    configured.seal(A)

    configured.refused("probe", *APP, A, doc=PROBE, code="not-started")
    configured.refused("probe", *APP, B, doc=PROBE, code="not-sealed")


def test_probe_through_the_web_server_wants_this_release(configured: FakeHost, tcp_server: Any) -> None:
    port = tcp_server(header=A)
    configured.configure(instances=1, domains=["shop.test"], port=port)

    assert configured.ok("probe-web", *APP, A, doc=PROBE)["status"] == 200
    reply = configured.refused("probe-web", *APP, B, doc=PROBE | {"timeout": 1.5}, code="probe-failed")
    assert f"answered from release {A}" in reply["details"]["last_error"]
    assert "Host: shop.test" in reply["details"]["address"]


def test_logs_are_lines_of_our_units_only(configured: FakeHost) -> None:
    configured.seal(A)
    unit = f"deployd-shop-production-2@{A}.service"
    entries: list[dict[str, Any]] = [
        {"_SYSTEMD_UNIT": unit, "MESSAGE": "hello", "__REALTIME_TIMESTAMP": "1700000000500000"},
        {"_SYSTEMD_UNIT": unit, "MESSAGE": [104, 255], "__REALTIME_TIMESTAMP": "1700000001000000"},
        {"_PID": "1", "UNIT": unit, "MESSAGE": "Main process exited", "__REALTIME_TIMESTAMP": "1700000002000000"},
        {"_SYSTEMD_UNIT": "deployd-other-production-1@x.service", "MESSAGE": "forged", "__REALTIME_TIMESTAMP": "1"},
    ]
    (configured.bin / "journal").write_text("".join(json.dumps(entry) + "\n" for entry in entries) + "no json\n")

    reply = configured.raw("logs", *APP, "-n", "5", "--release", A)

    assert reply.exit == 0
    assert reply.lines == [
        {"time": 1700000000.5, "release": A, "instance": 2, "message": "hello", "stream": "app"},
        {"time": 1700000001.0, "release": A, "instance": 2, "message": "h\ufffd", "stream": "app"},
        {"time": 1700000002.0, "release": A, "instance": 2, "message": "Main process exited", "stream": "systemd"},
    ]
    assert "--lines=5 SYSLOG_IDENTIFIER=deployd-shop-production" in configured.calls()[-1]


def test_the_last_lines_since_a_moment_and_not_the_first(configured: FakeHost) -> None:
    """With --since, journalctl's --lines are the oldest ones, unless it goes backwards."""
    configured.seal(A)
    unit = f"deployd-shop-production-1@{A}.service"
    entries = [
        {"_SYSTEMD_UNIT": unit, "MESSAGE": f"line {n}", "__REALTIME_TIMESTAMP": f"17000000{n}0000000"} for n in (3, 2)
    ]
    (configured.bin / "journal").write_text("".join(json.dumps(entry) + "\n" for entry in entries))

    told = configured.raw("logs", *APP, "-n", "2", "--since", "1h")
    assert [line["message"] for line in told.lines] == ["line 2", "line 3"]
    assert "--lines=2 --since=-1h --reverse " in configured.calls()[-1]
    configured.raw("logs", *APP, "-n", "2", "--since", "1h", "-f")
    assert "--lines=2 --since=-1h --follow " in configured.calls()[-1]


def test_restart_goes_one_by_one(configured: FakeHost) -> None:
    configured.refused("restart", *APP, code="no-release")
    configured.live(A, Package())

    assert configured.ok("restart", *APP)["restarted"] == 2

    restarts = [line for line in configured.calls() if line.startswith("restart ")]
    assert restarts == [f"restart deployd-shop-production-{number}@{A}.service" for number in (1, 2)]


def test_restart_stops_instances_that_are_no_longer_configured(configured: FakeHost) -> None:
    configured.live(A)
    configured.configure(instances=1)

    configured.ok("restart", *APP)

    assert configured.calls()[-1] == f"stop --no-block -- deployd-shop-production-2@{A}.service"


def test_facts(configured: FakeHost) -> None:
    configured.live(A)

    facts = configured.ok("facts")

    assert (facts["helper"], facts["systemd"], facts["libc"]) == (1, 252, "glibc")
    assert facts["apps"] == [{"app": "shop", "environment": "production", "current": A}]
    assert facts["runtimes"] == ["node-22.22.3-linux-x64-glibc"]


def test_facts_say_who_has_port_80_and_what_never_arrived_whole(configured: FakeHost) -> None:
    configured.begin(A, Package())
    configured.live(B)
    idle = configured.ok("facts")
    assert (idle["web_running"], idle["port_80"], idle["incoming"]) == (False, None, 1)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        inode = str(Path(f"/proc/self/fd/{other.fileno()}").readlink()).strip("socket:[]")
        (configured.root / "proc/net").mkdir(parents=True)
        line = f"   0: 00000000:0050 00000000:0000 0A 0 0 0 0 0 {inode}\n"
        (configured.root / "proc/net/tcp").write_text("  sl  local_address rem_address   st\n" + line)
        assert configured.ok("facts")["port_80"] == Path("/proc/self/comm").read_text().strip()
    for unit in ("deployd-web.service", "deployd-web.socket"):
        (configured.bin / "units" / unit).write_text("active\n")
    ours = configured.ok("facts")
    assert (ours["web_running"], ours["port_80"]) == (True, "deployd")


def test_facts_say_whether_the_web_server_answers(host: FakeHost, web: RealWeb) -> None:
    """One that is stopped holds its port, and the kernel still takes connections for it."""
    for unit in ("deployd-web.service", "deployd-web.socket"):
        (host.bin / "units" / unit).write_text("active\n")
    web.start()
    assert web.process
    port = {"DEPLOYD_HOST_WEB_PORT": str(web.plain)}
    assert host.raw("facts", **port).json["web_answers"] is True
    assert host.raw("facts", **port).json["mounted"] == []
    stop(web.process.pid)
    slow = {"DEPLOYD_HOST_WEB_WITHIN": "0.3"}
    assert host.raw("facts", **port, **slow).json["web_answers"] is False
    web.process.send_signal(signal.SIGCONT)
    assert host.raw("facts", **port).json["web_answers"] is True
    (host.bin / "units/deployd-web.socket").write_text("inactive\n")
    assert host.raw("facts", **port).json["web_answers"] is None


def test_status_of_an_app_that_was_never_here(host: FakeHost) -> None:
    status = host.ok("status", *APP)

    assert (status["current"], status["releases"], status["epoch"]) == (None, [], 0)
    assert not host.path().exists()
