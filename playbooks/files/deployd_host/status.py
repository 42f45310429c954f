"""An app comes in, all that this host knows of it goes out."""

from __future__ import annotations

import os

from deployd_host.addresses import lacking_of, names_of
from deployd_host.doors import canary_of, maintenance_of
from deployd_host.drains import drains_of
from deployd_host.files import disk_free, read_json
from deployd_host.holding import current_holder
from deployd_host.places import instances_of
from deployd_host.programs import unit_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd_host.calls import Call
    from deployd_host.places import Place
    from deployd_host.replies import Json


def verb_status(call: Call) -> Json:
    """All that this host knows of the app."""
    place = call.place
    state = place.state()
    current = place.read_current()
    facts = unit_facts(place.any_service()) if os.path.isdir(place.releases) else {}
    since = next((one["at"] for one in reversed(state["live_log"]) if one["release"] == current), None)
    holder = current_holder(place) if os.path.isdir(place.base) else None
    return {
        "current": current,
        "epoch": state["epoch"],
        "since": since if current else None,
        "config": state["config"],
        "releases": [_release_status(place, state, one, current, facts) for one in place.kept()],
        "lock": {"held": holder is not None, **(holder or {})},
        "maintenance": maintenance_of(place),
        "canary": canary_of(place),
        "drained": drains_of(place),
        "certificate": _certificate(place, state),
        "disk_free": disk_free()[0],
    }


def _certificate(place: Place, state: Json) -> Json | None:
    """What an authority, or deployd, gave for the app's names; None without https, or by the host's own authority."""
    from deployd_host.obtained import state_of

    config = state["config"] or {}
    if config.get("tls") == "files":
        kept = state.get("certificate") or {"since": None, "until": None}
        return {**kept, "missing": lacking_of(place, names_of(config)) if "name" in kept else names_of(config)}
    return state_of(config, names_of(config)) if config.get("tls") == "acme" else None


def _release_status(
    place: Place, state: Json, release: str, current: str | None, facts: Mapping[str, Mapping[str, str]]
) -> Json:
    sealed = read_json(f"{place.release(release)}/.deployd/sealed.json") or {}
    ours = [one for name, one in facts.items() if name.endswith(f"@{release}.service")]
    running = [one for one in ours if one.get("ActiveState") in {"active", "reloading"}]
    crashing = any(one.get("SubState") in {"auto-restart", "failed"} for one in ours)
    restarts = sum(int(one.get("NRestarts") or 0) for one in ours)
    memory = [int(one["MemoryCurrent"]) for one in running if one.get("MemoryCurrent", "").isdigit()]
    live_at = next((one["at"] for one in reversed(state["live_log"]) if one["release"] == release), None)
    log = state["live_log"]
    left = [log[at + 1]["at"] for at in range(len(log) - 1) if log[at]["release"] == release != log[at + 1]["release"]]
    static = place.is_static(release)
    if release == current:
        how = "current"
    elif crashing:
        how = "failed"
    else:
        how = "warm" if running or static else "cold"
    return {
        "id": release,
        "state": how,
        "was_live": live_at is not None or release == current,
        "live_at": live_at,
        "left_at": None if release == current else max(left, default=None),
        "sealed_at": sealed.get("sealed_at"),
        "bytes": sealed.get("bytes"),
        "commit": sealed.get("commit"),
        "runtime": sealed.get("runtime"),
        "provenance": read_json(f"{place.release(release)}/.deployd/provenance.json"),
        "static": static,
        "instances": {
            "wanted": 0 if static else instances_of(state["config"] or {}),
            "running": len(running),
            "restarts": restarts,
        },
        "memory": sum(memory) if memory else None,
    }
