"""The doctor: each trouble is a finding with a fix."""

from __future__ import annotations

import time
from typing import Any

import pytest

from deployd.domain.host import Host
from deployd.errors import UnreachableError
from deployd.hosts import causes, doctor
from deployd.hosts.pool import Pool
from tests.unit.hosts.fakes import WEB1, FakeTransport

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHNs6IeX4VoAWMbm2uBu8oTz2KjDrUY2Gf0zsk0DgM7E"
HOST = Host(name=WEB1, address="192.0.2.1", host_key=KEY)


def healthy() -> dict[str, Any]:
    return {
        "helper": 1, "os": "debian", "os_version": "12", "cpu": "x64", "libc": "glibc", "libc_version": "2.36",
        "cores": 2, "memory": 1 << 32, "disk_free": 50 << 30, "inodes_free": 10**6, "systemd": 252, "rsync": "3.2.7",
        "web": doctor._pinned_web(), "runtimes": [], "time": time.time(), "python": "3.11.2",
        "apps": [{"app": "shop", "environment": "production", "current": None}],
    }  # fmt: skip


STATUS = {
    "current": None, "epoch": 0, "since": None, "config": None, "releases": [], "lock": {"held": False},
    "maintenance": None, "canary": None, "drained": [], "certificate": None, "disk_free": 1 << 40,
}  # fmt: skip


def findings(
    facts: dict[str, Any], *, holder: dict[str, Any] | None = None, status: dict[str, Any] | None = None
) -> tuple[doctor.Finding, ...]:
    replies = {"facts": facts, "status": status or STATUS}
    transport = FakeTransport(lambda argv, _: replies.get(argv[0], holder or {"held": False}))
    return doctor.check(HOST, Pool.of({WEB1: transport}))


def test_a_healthy_host_has_nothing_to_fix() -> None:
    found = findings(healthy())
    assert {one.level for one in found} == {"ok"}
    assert not [one for one in found if one.fix]


def test_what_stands_where_the_link_should_be_is_found() -> None:
    refused = {"ok": False, "code": "current-not-link", "what": "current is not a symbolic link", "fix": "mv it"}
    troubles = [one for one in findings(healthy(), status=refused) if one.level != "ok"]
    assert [(one.level, one.fix) for one in troubles] == [("error", "mv it")]


def test_the_login_is_measured_where_it_happened() -> None:
    """`host check` connects to all hosts at once before it looks at them one by one."""
    held = {"held": False}
    transport = FakeTransport(lambda argv, _: healthy() if argv[0] == "facts" else held)
    connect = transport.connect
    transport.connect = lambda: (time.sleep(0.03), connect())[1]  # type: ignore[method-assign]
    pool = Pool.of({WEB1: transport})
    pool.connect_all()
    first = pool.login_seconds(WEB1)
    transport.connect = connect  # type: ignore[method-assign]

    found = doctor.check(HOST, pool)

    assert first >= 0.03
    assert pool.login_seconds(WEB1) == first
    assert f"took {round(first * 1000)} ms" in found[0].what


@pytest.mark.parametrize(
    ("change", "level", "said"),
    [
        ({"rsync": None}, "error", "rsync is not installed"),
        ({"mounted": ["noexec"]}, "error", "noexec"),
        ({"mounted": ["noexec", "ro"]}, "error", "read-only"),
        ({"rsync": "3.1.3"}, "warn", "rsync 3.1.3"),
        ({"web": None}, "error", "web server is not installed"),
        ({"web": "2.6.2"}, "warn", "pins"),
        ({"web_running": False}, "error", "does not run"),
        ({"web_answers": False}, "error", "does not answer"),
        ({"port_80": "nginx"}, "error", "nginx"),
        ({"disk_free": 10 << 20}, "error", "disk free"),
        ({"disk_free": 1 << 30}, "warn", "disk free"),
        ({"inodes_free": 5}, "warn", "inodes"),
        ({"systemd": 245}, "error", "systemd 245"),
        ({"python": "3.8.10"}, "error", "python 3.8.10"),
        ({"time": 0.0}, "error", "clock"),
        ({"incoming": 2}, "warn", "broken transfers"),
        ({"helper": 0}, "error", "version 0"),
    ],
)
def test_each_trouble_is_found_with_its_fix(change: dict[str, Any], level: str, said: str) -> None:
    troubles = [one for one in findings(healthy() | change) if one.level != "ok"]
    assert [(one.level, bool(one.fix)) for one in troubles] == [(level, True)]
    assert said in troubles[0].what


def test_a_held_app_is_a_warning() -> None:
    found = findings(healthy(), holder={"held": True, "owner": "anna", "since": "today"})
    assert "held by anna" in found[-1].what
    assert "unlock" in (found[-1].fix or "")


def test_a_host_that_cannot_be_reached_is_one_finding() -> None:
    transport = FakeTransport()
    transport.connect_error = UnreachableError("web1 does not answer", fix="start it")
    (only,) = doctor.check(HOST, Pool.of({WEB1: transport}))
    assert (only.level, only.what, only.fix) == ("error", "web1 does not answer", "start it")
    transport.connect_error = causes.refused_key(HOST, user="deployd")
    assert [one.level for one in doctor.check(HOST, Pool.of({WEB1: transport}))] == ["ok", "error"]
