"""A release comes in and is what visitors get, by one rename; the one before goes out."""

from __future__ import annotations

import os
import time

from deployd_host.doors import end_canary
from deployd_host.files import remove_tree, sync_folder
from deployd_host.names import pin
from deployd_host.places import not_started, require_sealed
from deployd_host.replies import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.calls import Call
    from deployd_host.places import Place
    from deployd_host.replies import Json


def require_epoch(state: Json, epoch: int) -> None:
    """Refuse an owner who has lost the app to a later one, whatever he believes."""
    if state["epoch"] != epoch:
        raise RefusedError(
            "fenced",
            f"this rollout holds epoch {epoch}, and the host is at {state['epoch']}: another one took over",
            fix="see `deployd status`; nothing was changed by this call",
            details={"epoch": state["epoch"]},
        )


def _point_current(place: Place, release: str) -> None:
    """The one rename."""
    aside = place.base + "/.current"
    remove_tree(aside)
    os.symlink(f"releases/{release}", aside)
    os.rename(aside, place.current)


def _record_live(place: Place, state: Json, release: str | None, previous: str | None, at: float) -> None:
    log = state["live_log"]
    if previous and not any(one["release"] == previous for one in log):
        log.append({"release": previous, "at": at})
    log.append({"release": release, "at": at})
    place.save(state)


def _switch(place: Place, state: Json, target: str | None, current: str | None) -> Json:
    """Make a release current, or none, and record it; the reply's fields."""
    started = time.perf_counter()
    if target is None:
        os.unlink(place.current)
    else:
        _point_current(place, target)
    at = time.time()
    flip_us = round((time.perf_counter() - started) * 1e6)
    sync_folder(place.base)
    _record_live(place, state, target, current, at)
    return {"previous": current, "current": target, "at": at, "flip_us": flip_us, "already": False}


def verb_flip(call: Call) -> Json:
    """Make the release current, if the expected one is, and if the caller still holds the app."""
    place, release = call.place, call.release
    expected, epoch = call.release_or_none("--expect"), call.number("--epoch")
    with place.locked("state"):
        state = place.state()
        require_epoch(state, epoch)
        current = place.read_current()
        if current == release:
            at = next((one["at"] for one in reversed(state["live_log"]) if one["release"] == release), None)
            if at is None:  # killed between the rename and the record
                at = time.time()
                _record_live(place, state, release, expected, at)
            return {"previous": expected, "current": release, "at": at, "flip_us": 0, "already": True}
        if current != expected:
            raise RefusedError(
                "expectation-failed",
                f"{current or 'nothing'} is live where {expected or 'nothing'} was expected",
                fix="see `deployd status`, then release or roll back again",
                details={"current": current, "expected": expected},
            )
        require_sealed(place, release)
        if not place.is_started(release):
            raise not_started(release)
        for one in {current, release} - {None}:
            pin(place, str(one))
        end_canary(place)
        return _switch(place, state, release, current)


def verb_unflip(call: Call) -> Json:
    """Go back to the release that was current before, or to none when this was the first."""
    from deployd_host.programs import systemctl
    from deployd_host.seeds import seed

    place = call.place
    target, epoch = call.release_or_none("--to"), call.number("--epoch")
    with place.locked("state"):
        state = place.state()
        require_epoch(state, epoch)
        current = place.read_current()
        if current == target:
            return {"previous": current, "current": target, "at": time.time(), "flip_us": 0, "already": True}
        if target is not None:
            require_sealed(place, target)
            if not place.is_started(target):
                seed(place, target)
                systemctl("start", place.socket_unit(target))
            pin(place, target)
        end_canary(place)
        return _switch(place, state, target, current)
