"""The releases that are wanted come in, the others are removed."""

from __future__ import annotations

import os

from deployd_host.documents import Fields
from deployd_host.doors import canary_of, end_canary
from deployd_host.files import names_in, read_proc, remove_tree
from deployd_host.names import take_names, unpin
from deployd_host.paths import BASE, CACHES
from deployd_host.places import refuse_current
from deployd_host.programs import systemctl, unit_facts
from deployd_host.replies import RefusedError
from deployd_host.reserve import keep_reserve
from deployd_host.runtimes import sweep_runtimes
from deployd_host.shares import sweep_shares
from deployd_host.union import sweep_union
from deployd_host.words import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd_host.calls import Call
    from deployd_host.places import Place
    from deployd_host.replies import Json


def in_use(place: Place, releases: Sequence[str]) -> set[str]:
    """The releases that a unit runs, or that any process has as its folder, program, or mapped file."""
    used = {
        name.rpartition("@")[2].removesuffix(".service")
        for name, one in unit_facts(place.any_service()).items()
        if one.get("ActiveState") not in {"inactive", "failed"}
    }
    prefixes = {release: place.release(release) + "/" for release in releases if release not in used}
    for pid in names_in("/proc"):
        if not pid.isdigit() or not prefixes:
            continue
        seen = _process_paths(pid)
        for release in [one for one, prefix in prefixes.items() if prefix in seen]:
            used.add(release)
            del prefixes[release]
    return used & set(releases)


def _process_paths(pid: str) -> str:
    paths = []
    for name in ("cwd", "exe"):
        try:
            paths.append(os.readlink(f"/proc/{pid}/{name}") + "/")
        except OSError:
            continue
    return "\n".join([*paths, read_proc(f"/proc/{pid}/maps")])


def remove_release(place: Place, release: str) -> int:
    """Remove all that a release has on this host; returns the bytes set free."""
    if (canary_of(place) or {}).get("release") == release:
        end_canary(place)
    unpin(place, release)
    take_names(place, release)
    systemctl("stop", place.socket_unit(release), timeout=30)
    aside = f"{place.releases}/.removing-{release}"
    try:
        os.rename(place.release(release), aside)
    except FileNotFoundError:
        pass
    except OSError:  # the rest of an earlier try
        remove_tree(aside)
        os.rename(place.release(release), aside)
    freed = remove_tree(aside)
    remove_tree(f"{place.releases}/.sealing-{release}")
    remove_tree(place.incoming(release))
    remove_tree(f"{place.begun}/{release}.json")
    remove_tree(f"{place.env}/{release}")
    freed += remove_tree(f"{place.seeded}/{release}")
    remove_tree(f"{place.seeded}/.making-{release}")
    remove_tree(place.socket(release))
    for cache in CACHES:
        freed += remove_tree(f"{cache}/{place.name}/{release}")
    return freed


def sweep_incoming(place: Place, wanted: set[str]) -> int:
    """Remove what arrived of releases that were never sealed; returns the bytes set free."""
    freed = 0
    for release in names_in(f"{BASE}/incoming/{place.name}"):
        if release not in wanted:
            freed += remove_tree(place.incoming(release))
            remove_tree(f"{place.begun}/{release}.json")
    return freed


def verb_prune(call: Call) -> Json:
    """Remove the releases that nobody keeps, protects or uses. The current one is never removed."""
    place = call.place
    fields = Fields(call.document)
    wanted = set(fields.texts("keep", kind="release")) | set(fields.texts("protect", kind="release"))
    fields.finish()
    wanted.add((canary_of(place) or {}).get("release", ""))
    removed: list[str] = []
    freed = 0
    with place.locked("files"):
        current = place.read_current()
        there = [name for name in names_in(place.releases) if matches("release", name)]
        doomed = [name for name in there if name not in wanted and name != current]
        used = in_use(place, doomed) if doomed else set()
        for release in doomed:
            if release in used or place.read_current() == release:
                continue
            freed += remove_release(place, release)
            removed.append(release)
        for name in names_in(place.releases):
            if name.startswith(".removing-"):
                freed += remove_tree(f"{place.releases}/{name}")
        freed += sweep_incoming(place, wanted)
        sweep_shares(place)
        freed += sweep_union(place.static)
    freed += sweep_runtimes()
    keep_reserve()
    return {
        "removed": removed,
        "kept": [name for name in there if name not in removed],
        "in_use": sorted(used),
        "freed_bytes": freed,
    }


def verb_discard(call: Call) -> Json:
    """Remove one release that never was live, with what has arrived of it."""
    place, release = call.place, call.release
    refuse_current(place, release, "discarded")
    if place.was_live(release):
        raise RefusedError(
            "was-live",
            f"release {release} was live, so only `prune` may remove it",
            fix="leave it: retention removes it when its time has come",
        )
    with place.locked("files"):
        there = os.path.lexists(place.release(release))
        systemctl("kill", "--signal=SIGKILL", "--", place.any_service(release))
        systemctl("stop", place.socket_unit(release), place.any_service(release), timeout=60)
        freed = remove_release(place, release)
        freed += sweep_union(place.static)
    return {"discarded": there, "freed_bytes": freed}
