"""A rollout comes in and holds the app until its stdin closes; the app's holder and epoch go out."""

from __future__ import annotations

import os
import time

from deployd_host.documents import Fields, document
from deployd_host.files import names_in, to_json
from deployd_host.paths import RUN
from deployd_host.replies import RefusedError, bad_request, say
from deployd_host.reserve import make_room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from deployd_host.calls import Call
    from deployd_host.locks import Lock
    from deployd_host.places import Place
    from deployd_host.replies import Json


def current_holder(place: Place) -> Json | None:
    """Who holds the app, or None."""
    lock = place.locked("hold")
    try:
        if lock.take(wait=0):
            return None
        return _holder_of(lock)
    finally:
        lock.close()


def _holder_of(lock: Lock) -> Json:
    found: Any = None
    try:
        found = document(lock.text().encode())
    except RefusedError:
        found = {}
    return {name: found.get(name) for name in ("owner", "since", "rollout", "pid")}


def verb_hold(call: Call) -> int:
    """Hold the app for one rollout until stdin closes; every hold has a new epoch."""
    held = Held(call, document(_first_line()))
    say({"ok": True, **held.reply})
    _wait_for_end_of_stdin()
    held.let_go()
    return 0


class Held:
    """An app that this process holds for a rollout, until it lets go or ends."""

    __slots__ = ("_lock", "reply")

    def __init__(self, call: Call, asked: Any) -> None:
        """Take it; `asked` names owner and rollout. Raises RefusedError `lock-held`."""
        place, fields = call.place, Fields(asked)
        owner = fields.text("owner", longest=200)
        rollout = fields.text("rollout", longest=200, default="")
        fields.finish()
        make_room()
        place.make()
        self._lock = place.locked("hold")
        if not self._lock.take(wait=float(call.options.get("--wait", "0"))):
            holder = _holder_of(self._lock)
            self._lock.close()
            raise RefusedError(
                "lock-held",
                f"{place.app} {place.environment} is held by {holder['owner']} since {holder['since']}",
                fix="wait for that rollout, cancel it with `deployd cancel`, or end a dead one with `deployd unlock`",
                details=holder,
            )
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._lock.write(to_json({"owner": owner, "rollout": rollout, "since": since, "pid": os.getpid()}))
        self.reply: Json = {"epoch": _next_epoch(place), "since": since, "current": place.live()}

    def let_go(self) -> None:
        """Free it."""
        self._lock.write("")
        self._lock.close()


def _first_line() -> bytes:
    """The first line of stdin, byte by byte: what follows stays unread."""
    line = bytearray()
    while (byte := os.read(0, 1)) and byte != b"\n":
        line += byte
        if len(line) > 10_000:
            raise bad_request("the first line on stdin is too long")
    return bytes(line)


def _wait_for_end_of_stdin() -> None:
    import select

    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(1, 0)  # an error on stdout means that nobody listens any more
    while True:
        for fd, event in poll.poll():
            if fd == 1 or not event & select.POLLIN or not os.read(0, 4096):
                return


def _next_epoch(place: Place) -> int:
    with place.locked("state"):
        state = place.state()
        state["epoch"] += 1
        place.save(state)
    return int(state["epoch"])


def verb_holder(call: Call) -> Json:
    """Say who holds the app."""
    holder = current_holder(call.place)
    return {"held": holder is not None, **(holder or {"owner": None, "since": None, "rollout": None})}


def verb_unlock(call: Call) -> Json:
    """End whoever holds the app; a new epoch makes everything refuse that he may still send."""
    place = call.place
    holder = current_holder(place)
    released = True
    if holder and isinstance(holder["pid"], int) and _has_open(holder["pid"], f"{RUN}/locks/{place.name}.hold"):
        for number in (15, 9):
            try:
                os.kill(holder["pid"], number)
            except ProcessLookupError:
                break
            lock = place.locked("hold")
            released = lock.take(wait=2.0)
            lock.close()
            if released:
                break
    place.make()
    return {"released": released, "was": holder, "epoch": _next_epoch(place)}


def _has_open(pid: int, path: str) -> bool:
    """Whether the process has the file open: a pid alone may be somebody else's by now."""
    wanted = os.stat(path)
    for name in names_in(f"/proc/{pid}/fd"):
        try:
            found = os.stat(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False
