"""`host check`: a host comes in, findings go out, each with its fix. It never raises what it finds."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from deployd import paths
from deployd.domain.quantity import format_duration, format_size
from deployd.errors import HostError, HostKeyError
from deployd.hosts import keys
from deployd.hosts.helper import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployd.domain.host import Facts, Host
    from deployd.domain.ids import HostName
    from deployd.hosts.helper import Helper
    from deployd.hosts.pool import Pool

Level = Literal["ok", "warn", "error"]

_SKEW_WARN, _SKEW_ERROR = 2.0, 60.0
_DISK_WARN, _DISK_ERROR = 2 << 30, 256 << 20
_INODES_WARN = 20_000
_SYSTEMD = 249  # Ubuntu 22.04's
_PYTHON = (3, 10)
_RSYNC = (3, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `fix` says what to do when it is not `ok`."""

    host: HostName
    level: Level
    what: str
    fix: str | None = None


def check(host: Host, pool: Pool) -> tuple[Finding, ...]:
    """Look at a host from the wire up; stops where the rest cannot be asked."""
    return tuple(_check(host, pool))


def _check(host: Host, pool: Pool) -> Iterator[Finding]:
    def finding(level: Level, what: str, fix: str | None = None) -> Finding:
        return Finding(host=host.name, level=level, what=what, fix=fix)

    bootstrap = f"run `deployd host bootstrap {host.name}`"
    try:
        helper = pool.helper(host.name)
    except HostError as error:
        if isinstance(error, HostKeyError) or error.code == "ssh-auth-failed":
            yield finding("ok", f"{host.address} port {host.port} answers")
        yield finding("error", error.what, error.fix)
        return
    took = format_duration(pool.login_seconds(host.name))
    yield finding("ok", f"{host.address} port {host.port} answers; logging in as deployd took {took}")
    yield finding("ok", f"it shows the pinned host key {keys.fingerprint(host.host_key)}")
    before = time.time()
    try:
        facts = helper.facts()
    except HostError as error:
        yield finding("error", error.what, error.fix)
        return
    skew = facts.time - (before + time.time()) / 2
    for look in (_versions, _web, _room):
        yield from look(facts, finding, bootstrap)
    yield _clock(skew, finding)
    yield from _locks(helper, facts, finding)
    if facts.web_answers is not False:  # it would be waited for at each name
        yield from _certificates(helper, facts, finding)


def _versions(facts: Facts, finding: Callable[..., Finding], bootstrap: str) -> Iterator[Finding]:
    """The helper and what it stands on."""
    yield finding("ok", f"helper version {facts.helper} (this deployd speaks {PROTOCOL})")
    if facts.rsync is None:
        yield finding("error", "rsync is not installed", bootstrap)
    else:
        old = _numbers(facts.rsync)[:2] < _RSYNC
        yield finding("warn" if old else "ok", f"rsync {facts.rsync}", "use rsync 3.2 or later" if old else None)
    old = facts.systemd < _SYSTEMD
    yield finding(
        "error" if old else "ok",
        f"{facts.os} {facts.os_version}, systemd {facts.systemd}, {facts.cpu}, {facts.libc} {facts.libc_version}",
        "use Debian 12 or later, or Ubuntu 22.04 or later" if old else None,
    )
    old = _numbers(facts.python)[:2] < _PYTHON
    yield finding("error" if old else "ok", f"python {facts.python}", "use python 3.10 or later" if old else None)


def _web(facts: Facts, finding: Callable[..., Finding], bootstrap: str) -> Iterator[Finding]:
    """The web server's version, and whether it runs and has its port."""
    pinned = _pinned_web()
    if facts.web is None:
        yield finding("error", "the web server is not installed", bootstrap)
    elif facts.web != pinned:
        yield finding("warn", f"web server {facts.web}; this deployd pins {pinned}", bootstrap)
    else:
        yield finding("ok", f"web server {facts.web}")
    if facts.web_running is False:
        yield finding(
            "error", "the web server does not run", "see `journalctl -u deployd-web` there, then " + bootstrap
        )
    elif facts.web_answers is False:
        yield finding("error", "the web server runs and does not answer", "`systemctl restart deployd-web` there")
    for port, holder in ((80, facts.port_80), (443, facts.port_443)):
        if holder is not None and holder != "deployd":
            yield finding(
                "error",
                f"port {port} is not the web server's: {holder}",
                "stop what has it (`ss -ltnp` there names it), then " + bootstrap,
            )


def _room(facts: Facts, finding: Callable[..., Finding], _bootstrap: str) -> Iterator[Finding]:
    """Disk, inodes, and how it is mounted."""
    level: Level = "error" if facts.disk_free < _DISK_ERROR else "warn" if facts.disk_free < _DISK_WARN else "ok"
    room = "free space: `deployd prune`, smaller `keep` in deployd.toml, or a larger disk"
    yield finding(level, f"{format_size(facts.disk_free)} of disk free", None if level == "ok" else room)
    if facts.inodes_free is not None:
        few = facts.inodes_free < _INODES_WARN
        yield finding("warn" if few else "ok", f"{facts.inodes_free} inodes free", room if few else None)
    if facts.forbids:
        yield finding("error", *facts.forbids)
    if facts.incoming:
        yield finding(
            "warn",
            f"{facts.incoming} broken transfers lie in incoming/",
            "release again, and they go on; old ones go with `deployd prune`",
        )


def _clock(skew: float, finding: Callable[..., Finding]) -> Finding:
    size = abs(skew)
    level: Level = "error" if size > _SKEW_ERROR else "warn" if size > _SKEW_WARN else "ok"
    fix = None if level == "ok" else "let both machines keep time: `timedatectl set-ntp true`"
    return finding(level, f"its clock is {skew:+.2f} s from this machine's", fix)


def _locks(helper: Helper, facts: Facts, finding: Callable[..., Finding]) -> Iterator[Finding]:
    """Which apps are there, and who holds them."""
    from deployd.domain.ids import AppName, EnvironmentName

    for one in facts.apps:
        live = one.current or "nothing yet"
        place = (AppName.parse(one.app), EnvironmentName.parse(one.environment))
        try:
            if one.current is None:
                helper.status(*place)  # refuses when `current` is there and is no link
            holder = helper.holder(*place)
        except HostError as error:
            yield finding("error", f"{one.app} {one.environment}: {error.what}", error.fix)
            continue
        if holder.held:
            yield finding(
                "warn",
                f"{one.app} {one.environment}: live {live}; held by {holder.owner} since {holder.since}",
                "wait for that rollout; when nobody runs it any more: `deployd unlock`",
            )
        else:
            yield finding("ok", f"{one.app} {one.environment}: live {live}")


def _certificates(helper: Helper, facts: Facts, finding: Callable[..., Finding]) -> Iterator[Finding]:
    """What the web server shows for each name of each app, and until when it is good."""
    from deployd.certificates import judging, reading
    from deployd.domain.ids import AppName, EnvironmentName

    for one in facts.apps:
        try:
            names = helper.served(AppName.parse(one.app), EnvironmentName.parse(one.environment))
        except HostError:
            continue  # a helper of an earlier version; that is told above
        for shown in names:
            if shown.certificate is None:
                what = f"{shown.name} ({one.app} {one.environment}): no certificate: {shown.error}"
                yield finding("error", what, "see `deployd domain check`, and `journalctl -u deployd-web` there")
                continue
            found = reading.read_der(shown.certificate)
            for told in judging.judge_certificate(shown.name, None, found, run=None, now=time.time()):
                fix = "see `deployd domain check`" if told.level != "ok" else None
                yield finding(told.level, f"{shown.name} ({one.app} {one.environment}): {told.what}", fix)


def _pinned_web() -> str:
    data: dict[str, Any] = json.loads((paths.data_dir("playbooks") / "files" / "web.json").read_text())
    return str(data["version"])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
