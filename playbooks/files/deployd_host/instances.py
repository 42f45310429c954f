"""A release comes in, its server processes are started, restarted or stopped."""

from __future__ import annotations

import time

from deployd_host.files import names_in, read_proc
from deployd_host.names import give_names
from deployd_host.paths import ROOT, SELF
from deployd_host.places import refuse_current, require_process, require_sealed
from deployd_host.programs import run, systemctl, unit_facts
from deployd_host.replies import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.calls import Call
    from deployd_host.places import Place
    from deployd_host.replies import Json


def verb_start(call: Call) -> Json:
    """Start the release's socket and all its instances."""
    from deployd_host.logs import log_tail
    from deployd_host.seeds import seed

    place, release = call.place, call.release
    require_sealed(place, release)
    place.config()
    if place.is_static(release):
        give_names(place, release)
        return {"started": True, "instances": 0}
    seed(place, release)
    done = systemctl("start", place.socket_unit(release), *place.service_units(release))
    if done.code != 0:
        raise RefusedError(
            "start-failed",
            f"release {release} could not be started: {done.error.splitlines()[0] if done.error else done.code}",
            fix="read the server's last lines in the details",
            details={"log": log_tail(place, release), "error": done.error[-2000:]},
        )
    give_names(place, release)
    return {"started": True, "instances": place.instances()}


def verb_stop(call: Call) -> Json:
    """Drain a release that is not current. Its socket stays: a request that still comes starts it again.

    With `--after` a timer of systemd's does it later, through this verb again: a release that is current by then stays.
    """
    place, release = call.place, call.release
    refuse_current(place, release, "stopped")
    if "--after" in call.options:
        return {"stopping": _stop_later(place, release, call.options["--after"])}
    done = systemctl("stop", "--no-block", "--", place.any_service(release))
    return {"stopping": done.code == 0}


def _stop_later(place: Place, release: str, seconds: str) -> bool:
    unit = f"deployd-stop-{place.name}-{release}"
    systemctl("stop", f"{unit}.timer")  # one of an earlier flip: the newer time counts
    later = ["--quiet", "--collect", f"--unit={unit}", f"--on-active={seconds}"]
    argv = [SELF, "--root-half", "stop", place.app, place.environment, release]
    return run(["/usr/bin/systemd-run", *later, "--", *argv]).code == 0


def verb_restart(call: Call) -> Json:
    """Restart the current release's instances one at a time; requests wait in the socket's queue meanwhile."""
    from deployd_host.logs import log_tail

    place = call.place
    release = place.read_current()
    if release is None:
        raise RefusedError(
            "no-release", f"{place.app} {place.environment} has no live release here", fix="release it first"
        )
    require_process(
        place,
        release,
        "it has no process that could be restarted",
        "nothing has to be done: the web server reads its files anew for each request",
    )
    drain = place.config()["drain"]
    started = systemctl("start", place.socket_unit(release))
    for unit in place.service_units(release):
        started = systemctl("restart", unit, timeout=drain + 60) if started.code == 0 else started
        if started.code != 0 or not _wait_until_listening(unit):
            raise RefusedError(
                "restart-failed",
                f"{unit} did not come back",
                fix="read the server's last lines in the details; `deployd rollback` goes back to the release before",
                details={"log": log_tail(place, release), "error": started.error[-2000:]},
            )
    wanted = place.service_units(release)
    more = [name for name in unit_facts(place.any_service(release)) if name not in wanted]
    if more:  # fewer instances are configured now than when it started
        systemctl("stop", "--no-block", "--", *more)
    return {"restarted": len(wanted), "release": release}


def _wait_until_listening(unit: str, *, timeout: float = 60.0) -> bool:
    """Wait until the unit's own process waits for connections on the socket that it was given."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        facts = unit_facts(unit).get(unit, {})
        if int(facts.get("NRestarts") or 0) >= 3 or facts.get("ActiveState") in {"failed", "inactive"}:
            return False
        if ROOT or _polls_its_socket(facts.get("MainPID", "0")):
            return True
        time.sleep(0.1)
    return False


def _polls_its_socket(pid: str) -> bool:
    """Whether the process has descriptor 3, systemd's first, in one of its epoll sets."""
    for name in names_in(f"/proc/{pid}/fdinfo"):
        text = read_proc(f"/proc/{pid}/fdinfo/{name}")
        if any(line.split()[:2] == ["tfd:", "3"] for line in text.splitlines()):
            return True
    return False
