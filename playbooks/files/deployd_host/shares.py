"""A link's key comes in, and opens one preview for a time."""

from __future__ import annotations

import os
import time

from deployd_host.documents import Fields
from deployd_host.files import make_folder, names_in, remove_tree, write_file
from deployd_host.programs import run
from deployd_host.replies import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.calls import Call
    from deployd_host.places import Place
    from deployd_host.replies import Json


def verb_share(call: Call) -> Json:
    """Take a key to one preview address; it opens that address alone, and for a time."""
    place = call.place
    fields = Fields(call.document)
    label, key = fields.text("label", kind="label"), fields.text("key", kind="share")
    seconds = fields.whole("seconds", 60, 366 * 86_400)
    fields.finish()
    if not names_in(f"{place.names}/{label}"):
        raise RefusedError(
            "preview-missing",
            f"{label} is no preview of {place.app} {place.environment} on this host",
            fix="see `deployd releases` for the releases that are kept",
        )
    until = time.time() + seconds
    with place.locked("state"):
        sweep_shares(place)
        folder = f"{place.shares}/{label}"
        make_folder(place.shares)
        make_folder(folder)
        write_file(f"{folder}/{key}", "")
        os.utime(f"{folder}/{key}", (until, until))
    _remove_after(seconds, f"{folder}/{key}")
    return {"until": until}


def sweep_shares(place: Place, *, anew: bool = False) -> None:
    """Remove keys that are over: a file's time is the end of its key's. With `anew`, after a reboot, each is timed."""
    now = time.time()
    for label in names_in(place.shares):
        for key in names_in(f"{place.shares}/{label}"):
            path = f"{place.shares}/{label}/{key}"
            left = os.stat(path).st_mtime - now
            if left < 0:
                remove_tree(path)
            elif anew:
                _remove_after(int(left) + 1, path)


def _remove_after(seconds: int, path: str) -> None:
    """Until then, or the next reboot: such a timer is nowhere on the disk."""
    later = ["--quiet", "--collect", f"--on-active={seconds}"]
    run(["/usr/bin/systemd-run", *later, "--", "/usr/bin/rm", "-f", "--", path])
