"""Which hosts and apps a load balancer is to leave alone comes in; files that the web server looks for go out.

A drained app answers `/.deployd/health` with 503, and everything else as ever. There are three files, each somebody's:
`host` drains every app of the host, also those that come later; `<app>-<environment>` drains one; and
`<app>-<environment>.rollout` is a rollout's, for as long as it flips this host. They outlive reboots.
"""

from __future__ import annotations

import os

from deployd_host.documents import Fields
from deployd_host.files import make_folder, names_in, remove_tree, write_file
from deployd_host.locks import Lock
from deployd_host.paths import DRAINED, RUN, WEB_RUN
from deployd_host.places import Place
from deployd_host.replies import bad_request
from deployd_host.words import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.calls import Call
    from deployd_host.replies import Json


def drains_of(place: Place) -> list[str]:
    """What drains the app on this host: `host`, `app`, `rollout`."""
    files = {"host": "host", "app": place.name, "rollout": f"{place.name}.rollout"}
    present = set(names_in(DRAINED))
    return [why for why, name in files.items() if name in present]


def host_is_drained() -> bool:
    """Whether the whole host is drained."""
    return os.path.exists(f"{DRAINED}/host")


def verb_drain(call: Call) -> Json:
    """Take the host, or one app of it, out of what a load balancer asks, or give it back; without `on`: only look.

    `open` is how many requests the web server has given to servers and not had answered: of the app, or of all.
    """
    fields = Fields(call.document)
    on, by, app, environment = (fields.get(name) for name in ("on", "by", "app", "environment"))
    fields.finish()
    if (
        on not in (True, False, None)
        or by not in (None, "operator", "rollout")
        or (app is None) != (environment is None)
    ):
        raise bad_request("'on', 'by', 'app' or 'environment' is not valid")
    if app is None and by == "rollout":
        raise bad_request("a rollout drains an app, not a host")
    place = None if app is None else Place(checked("app", str(app)), checked("environment", str(environment)))
    if place:
        place.config()
    name = "host" if place is None else place.name + (".rollout" if by == "rollout" else "")
    changed = False
    if on is not None:
        make_folder(f"{RUN}/locks", mode=0o700)
        with Lock(f"{RUN}/locks/drained"):
            changed = on != (name in names_in(DRAINED))
            if on and changed:
                make_folder(DRAINED)
                write_file(f"{DRAINED}/{name}", "")
            elif changed:
                remove_tree(f"{DRAINED}/{name}")
    drained = drains_of(place) if place else (["host"] if host_is_drained() else [])
    return {"drained": drained, "changed": changed, "open": open_requests(place)}


def open_requests(place: Place | None) -> int | None:
    """How many requests wait for servers' answers here; None where no web server tells. Those that leave count, too."""
    wanted = f"unix/{RUN}/{place.name}/" if place else f"unix/{RUN}/"
    folders = [WEB_RUN, *(f"{WEB_RUN}/{name}" for name in names_in(WEB_RUN) if name[1:].isdigit() and name[0] == "g")]
    sockets = {os.path.realpath(f"{folder}/admin.sock") for folder in folders}
    counts = [_open_at(path, wanted) for path in sorted(sockets) if os.path.exists(path)]
    told = [one for one in counts if one is not None]
    return sum(told) if told else None


def _open_at(path: str, wanted: str) -> int | None:
    """What one web server tells of its upstreams whose address begins so."""
    import json
    import socket

    request = b"GET /reverse_proxy/upstreams HTTP/1.0\r\nHost: localhost\r\n\r\n"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(path)
            connection.sendall(request)
            answer = b""
            while chunk := connection.recv(1 << 16):
                answer += chunk
        upstreams = json.loads(answer.partition(b"\r\n\r\n")[2]) or []
        return sum(int(one["num_requests"]) for one in upstreams if str(one["address"]).startswith(wanted))
    except (OSError, ValueError, KeyError, TypeError):
        return None
