"""A host after a reboot comes in, its releases' sockets go out."""

from __future__ import annotations

import os

from deployd_host.files import make_folder
from deployd_host.names import give_names, pin
from deployd_host.paths import RUN
from deployd_host.places import places
from deployd_host.programs import systemctl
from deployd_host.seeds import seed
from deployd_host.shares import sweep_shares

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.calls import Call
    from deployd_host.replies import Json


def verb_boot(_call: Call) -> Json:
    """After a reboot: the current releases at once, then the sockets of all kept ones."""
    make_folder(RUN)
    make_folder(RUN + "/locks", mode=0o700)
    first: list[str] = []
    later: list[str] = []
    for place in places():
        current = place.live()
        if not place.state()["config"]:
            continue
        sweep_shares(place, anew=True)
        for release in place.kept():
            give_names(place, release)
            if place.was_live(release) and not os.path.exists(f"{place.pins}/{release}/{release}"):
                pin(place, release)
            if place.is_static(release):
                continue
            seed(place, release)
            if release == current:
                first += [place.socket_unit(release), *place.service_units(release)]
            else:
                later.append(place.socket_unit(release))
    for units in (first, later):
        if units:
            systemctl("start", "--no-block", *units)
    return {"started": len(first) + len(later)}
