"""A file that arrived comes in, a Node.js of root's goes out."""

from __future__ import annotations

import os
import time

from deployd_host.copying import copy_checked
from deployd_host.documents import Fields
from deployd_host.files import (
    disk_free,
    disk_full,
    make_folder,
    names_in,
    read_bytes,
    read_json,
    remove_tree,
    sync_all,
    sync_folder,
    write_file,
)
from deployd_host.incoming import make_incoming
from deployd_host.locks import Lock
from deployd_host.manifests import File
from deployd_host.paths import BASE, DISK_RESERVE, RUN, RUNTIME_GRACE
from deployd_host.places import places
from deployd_host.replies import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.calls import Call
    from deployd_host.replies import Json


def verb_runtime_begin(call: Call) -> Json:
    """Say whether the runtime is here, and where its file goes otherwise."""
    runtime = call.values["runtime"]
    if os.path.exists(f"{BASE}/runtimes/{runtime}/bin/node"):
        return {"present": True, "incoming": None}
    incoming = f"{BASE}/incoming/runtimes/{runtime}"
    make_incoming(incoming)
    return {"present": False, "incoming": incoming + "/"}


def verb_runtime_seal(call: Call) -> Json:
    """Make a runtime of the file that arrived, if it has the hash."""
    runtime = call.values["runtime"]
    fields = Fields(call.document)
    sha256 = fields.text("sha256", kind="sha256")
    size = fields.whole("size", 1, 1 << 32)
    fields.finish()
    folder = f"{BASE}/runtimes/{runtime}"
    with Lock(f"{RUN}/locks/runtimes"):
        if os.path.exists(folder + "/bin/node"):
            if read_bytes(folder + "/sha256") != sha256.encode():
                raise RefusedError(
                    "content-mismatch",
                    f"the runtime {runtime} on this host has another content than yours",
                    fix=f"find out which is right; to bring yours, remove {folder} on the host",
                )
            return {"sealed": True, "already": True}
        if size + DISK_RESERVE > disk_free()[0]:
            raise disk_full(size + DISK_RESERVE)
        _seal_runtime(runtime, File(b"node", 0o755, size, sha256, int(time.time())))
    return {"sealed": True, "already": False}


def _seal_runtime(runtime: str, file: File) -> None:
    aside = f"{BASE}/runtimes/.sealing-{runtime}"
    incoming = f"{BASE}/incoming/runtimes/{runtime}"
    remove_tree(aside)
    make_folder(BASE + "/runtimes")
    os.makedirs(aside + "/bin")
    try:
        fd = os.open(incoming, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            here = copy_checked(b"node", os.fsencode(aside + "/bin/node"), file, parent=fd)
        finally:
            os.close(fd)
    except FileNotFoundError:
        here = False
    if not here:
        remove_tree(aside)
        raise RefusedError(
            "file-missing", f"the runtime {runtime} did not arrive", fix="release again: the transfer goes on"
        )
    write_file(aside + "/sha256", file.sha256, mode=0o444)
    sync_all(aside)
    os.rename(aside, f"{BASE}/runtimes/{runtime}")
    sync_folder(BASE + "/runtimes")
    remove_tree(incoming)


def sweep_runtimes() -> int:
    """Remove runtimes that no release on this host has; a day old, since one may be on its way to a release."""
    used = {
        (read_json(f"{place.release(release)}/.deployd/sealed.json") or {}).get("runtime")
        for place in places()
        for release in place.kept()
    }
    freed = 0
    with Lock(f"{RUN}/locks/runtimes"):
        for name in names_in(BASE + "/runtimes"):
            path = f"{BASE}/runtimes/{name}"
            if name not in used and time.time() - os.stat(path).st_mtime > RUNTIME_GRACE:
                freed += remove_tree(path)
    return freed
