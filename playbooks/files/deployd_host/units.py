"""An app's configuration comes in, its unit templates go out, so that a release never needs a daemon-reload."""

from __future__ import annotations

import os

from deployd_host.files import make_folder, names_in, write_file
from deployd_host.paths import BASE, IDLE_SECONDS, SEEDED_NAMES, UNITS, WEB_GROUP, WRITABLE_NAMES
from deployd_host.places import instances_of
from deployd_host.programs import systemctl
from deployd_host.replies import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd_host.places import Place
    from deployd_host.replies import Json


def app_user(place: Place) -> str:
    """The app's user. All its units share it, or the second to start would take the cache folders from the first."""
    name = f"dpl-{place.name}"
    if len(name) <= 31:
        return name
    import hashlib

    return f"dpl-{place.name[:18]}-{hashlib.sha256(place.name.encode()).hexdigest()[:8]}"


def sandbox(place: Place, release: str, *, config: Json) -> list[tuple[str, str]]:
    """The settings under which an app's processes run; `release` is an id, or `%i` in a template."""
    folder = place.release(release)
    instances = instances_of(config)
    variables = {
        "NODE_ENV": "production",
        "PORT": "3000",
        "HOSTNAME": "localhost",  # never 127.0.0.1: Next.js then proxies rewrites to https://localhost
        "KEEP_ALIVE_TIMEOUT": "75000",  # far above the web server's idle time: it must close first
        "HOME": "/tmp",  # noqa: S108 - private to the unit; without a home Next.js 13 does not start
        "PATH": f"{folder}/.deployd:/usr/local/bin:/usr/bin:/bin",
        "DEPLOYD_APP": place.app,
        "DEPLOYD_ENVIRONMENT": place.environment,
        "DEPLOYD_RELEASE": release,
        "DEPLOYD_CURRENT": f"{place.current}/.deployd/id",
        "DEPLOYD_INSTANCES": str(instances),
        "DEPLOYD_IDLE": str(IDLE_SECONDS),
    }
    caches = " ".join(f"deployd/{place.name}/{release}/{name}" for name in WRITABLE_NAMES)
    settings = [
        ("WorkingDirectory", folder),
        *(("Environment", f"{name}={value}") for name, value in variables.items()),
        ("EnvironmentFile", f"-{place.env}/{release}"),
        ("DynamicUser", "yes"),
        ("User", app_user(place)),
        ("UMask", "0027"),
        ("CacheDirectory", caches),
        ("CacheDirectoryMode", "0700"),
        ("TemporaryFileSystem", f"{BASE}:ro"),
        ("BindReadOnlyPaths", f"{BASE}/runtimes {place.base}"),
        ("InaccessiblePaths", "-/etc/deployd -/run/deployd -/run/deployd-web"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("ProtectProc", "invisible"),
        ("ProtectClock", "yes"),
        ("ProtectControlGroups", "yes"),
        ("ProtectHostname", "yes"),
        ("ProtectKernelLogs", "yes"),
        ("ProtectKernelModules", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("KeyringMode", "private"),
        ("LockPersonality", "yes"),
        ("RemoveIPC", "yes"),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
        ("RestrictNamespaces", "yes"),
        ("RestrictRealtime", "yes"),
        ("RestrictSUIDSGID", "yes"),
        ("SystemCallArchitectures", "native"),
        ("SystemCallFilter", "@system-service"),
        ("SystemCallErrorNumber", "EPERM"),
        ("LimitNOFILE", "65536"),
        ("LimitNICE", "20"),  # a release that yields while it starts may come back to nice 0
        ("SyslogIdentifier", f"deployd-{place.name}"),
    ]
    # A release without such folders has no copy of them, and `-` leaves the line out. The target is a link that `seal`
    # made, because the folder is another one in each release, and the template is the same for all.
    settings += [
        ("BindPaths", f"-{place.seeded}/{release}/{name}:{folder}/.deployd/seeded/{name}") for name in SEEDED_NAMES
    ]
    if config.get("memory"):
        settings.append(("MemoryMax", str(config["memory"])))
    return settings


def unit_files(place: Place, config: Json) -> dict[str, str]:
    """The templates of an app: one socket, and one service for each instance."""
    count = instances_of(config)
    files = {f"deployd-{place.name}@.socket": socket_template(place)}
    for number in range(1, count + 1):
        files[f"deployd-{place.name}-{number}@.service"] = service_template(place, config, number, count)
    return files


def socket_template(place: Place) -> str:
    """The socket stays whatever its service does: no limit may end it, or waiting visitors were cut off."""
    return f"""\
# Made by deployd-host configure; it makes it again.
[Unit]
Description=deployd: socket of {place.app} {place.environment}, release %i
StartLimitIntervalSec=0

[Socket]
ListenStream={place.socket("%i")}
Service={place.service_unit(1, "%i")}
SocketUser=root
SocketGroup={WEB_GROUP}
SocketMode=0660
DirectoryMode=0755
Backlog=4096
RemoveOnStop=yes
TriggerLimitIntervalSec=0
"""


def service_template(place: Place, config: Json, number: int, count: int) -> str:
    """One instance. The first brings the others along, so that a cold request starts all of them."""
    others = " ".join(place.service_unit(other, "%i") for other in range(2, count + 1))
    wants = f"Wants={others}\n" if number == 1 and others else ""
    folder = place.release("%i")
    settings = "".join(f"{name}={value}\n" for name, value in sandbox(place, "%i", config=config))
    return f"""\
# Made by deployd-host configure; it makes it again.
[Unit]
Description=deployd: {place.app} {place.environment}, release %i, instance {number}
After=network.target
StartLimitIntervalSec=0
{wants}
[Service]
Type=exec
Sockets={place.socket_unit("%i")}
ExecStart={folder}/.deployd/node --require {folder}/.deployd/listen.cjs {folder}/.deployd/entry
Restart=always
RestartSec=1
SuccessExitStatus=143 75
RestartPreventExitStatus=75
KillMode=mixed
TimeoutStopSec={config["drain"]}
{settings}"""


def installed_units(place: Place) -> list[str]:
    """The unit files of this app that are there."""
    import re

    ours = re.compile(rf"deployd-{place.name}(?:-[0-9]+@\.service|@\.socket)")
    return [name for name in names_in(UNITS) if ours.fullmatch(name)]


def write_units(place: Place, units: Mapping[str, str]) -> None:
    """Install an app's templates, and take away those that it no longer has."""
    make_folder(UNITS)
    for name, text in units.items():
        write_file(f"{UNITS}/{name}", text)
    for name in installed_units(place):
        if name not in units:
            os.unlink(f"{UNITS}/{name}")
    daemon_reload()


def daemon_reload() -> None:
    """Make systemd read changed templates. Costs a second with a thousand units: never part of a release."""
    done = systemctl("daemon-reload")
    if done.code != 0:
        raise RefusedError(
            "systemd-refused", "systemd did not reload its units", fix="see the details", details=done.error[-2000:]
        )
