"""An app comes in and is taken off this host."""

from __future__ import annotations

import os

from deployd_host.addresses import certificate_folder
from deployd_host.files import names_in, remove_tree
from deployd_host.locks import Lock
from deployd_host.paths import BASE, CACHES, RUN, UNITS
from deployd_host.programs import systemctl
from deployd_host.requestlog import remove_logs
from deployd_host.units import daemon_reload, installed_units
from deployd_host.words import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.calls import Call
    from deployd_host.replies import Json


def verb_remove_app(call: Call) -> Json:
    """Take an app off this host: processes, units, site, releases, variables and caches."""
    from deployd_host.web import apply_web, wanted_sites

    place = call.place
    if not os.path.isdir(place.base):
        return {"removed": False}
    with Lock(f"{RUN}/locks/web"), place.locked("files"):
        apply_web(wanted_sites(place, None))
        later = f"deployd-stop-{place.name}-[0-9]*.timer"
        systemctl("stop", "--", f"deployd-{place.name}@*.socket", place.any_service(), later, timeout=120)
        for release in names_in(place.releases):
            if matches("release", release):
                systemctl("stop", place.socket_unit(release), timeout=30)
        installed = installed_units(place)
        for name in installed:
            os.unlink(f"{UNITS}/{name}")
        if installed:
            daemon_reload()
        freed = remove_tree(place.base) + remove_logs(place)
        for path in (
            f"{BASE}/incoming/{place.name}",
            place.run,
            certificate_folder(place),
            *(f"{cache}/{place.name}" for cache in CACHES),
        ):
            freed += remove_tree(path)
        if not names_in(f"{BASE}/apps/{place.app}"):
            os.rmdir(f"{BASE}/apps/{place.app}")
    return {"removed": True, "freed_bytes": freed}
