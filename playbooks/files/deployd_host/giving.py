"""A sealed release comes in, its manifest and the contents of its files go out: for a deployd that lost its own.

Nothing is named by a path: a content is asked for by its hash, and only what the manifest names is given.
"""

from __future__ import annotations

import os

from deployd_host.documents import Fields
from deployd_host.files import read_json
from deployd_host.places import require_sealed
from deployd_host.replies import RefusedError, bad_request, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from deployd_host.calls import Call
    from deployd_host.replies import Json

_CHUNK = 1 << 18


def verb_manifest(call: Call) -> Json:
    """The manifest of a release, as it was sealed with it."""
    return {"manifest": _manifest(call)}


def verb_contents(call: Call) -> int:
    """Write one line with `ok`, and then each content that was asked for, whole and in that order."""
    fields = Fields(call.document)
    wanted = fields.get("sha256")
    fields.finish()
    if not isinstance(wanted, list):
        raise bad_request("'sha256' is not a list")
    folder = call.place.release(call.release)
    known = {entry["sha256"]: entry for entry in _manifest(call)["files"] if "sha256" in entry}
    if not all(isinstance(one, str) and one in known for one in wanted):
        raise bad_request("a content is asked for that the release does not have")
    say({"ok": True, "files": len(wanted)})
    for one in wanted:
        _write(f"{folder}/{known[one]['path']}", size=known[one]["size"])
    return 0


def _manifest(call: Call) -> Any:
    require_sealed(call.place, call.release)
    found = read_json(f"{call.place.release(call.release)}/.deployd/manifest.json")
    if not isinstance(found, dict):
        raise RefusedError(
            "not-sealed", f"release {call.release} lacks its manifest here", fix="release the commit again"
        )
    return found


def _write(path: str, *, size: int) -> None:
    """A file's bytes on stdout. One of another size ends the stream: what follows could not be told apart."""
    found = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(found).st_size != size:
            raise OSError(5, "a file of the release has another size", path)
        while data := os.read(found, _CHUNK):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(1, rest) :]
    finally:
        os.close(found)
