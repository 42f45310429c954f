"""A release's manifest comes in, the contents that this host lacks and the folder where they may arrive go out."""

from __future__ import annotations

import os
import time

from deployd_host.documents import Fields
from deployd_host.files import disk_free, disk_full, make_folder, names_in, read_json, to_json, write_file
from deployd_host.manifests import Layout
from deployd_host.paths import BASE, DEPLOY_USER, DISK_RESERVE, ROOT
from deployd_host.replies import RefusedError, bad_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployd_host.calls import Call
    from deployd_host.places import Place
    from deployd_host.replies import Json


def deploy_ids() -> tuple[int, int]:
    """The deploy user's uid and gid; in tests, our own."""
    import pwd

    try:
        found = pwd.getpwnam(DEPLOY_USER)
    except KeyError:
        return os.geteuid(), os.getegid()
    return (os.geteuid(), os.getegid()) if ROOT else (found.pw_uid, found.pw_gid)


def make_incoming(path: str) -> None:
    """A folder that the deploy user may write; its parents are root's, so that he cannot put another in its place."""
    make_folder(BASE)
    make_folder(BASE + "/incoming")
    make_folder(os.path.dirname(path))
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        import stat

        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise
    os.chown(path, *deploy_ids(), follow_symlinks=False)


def known_files(place: Place, *, without: str | None = None) -> Iterator[tuple[str, Json, int]]:
    """Every file's entry in the kept releases: the release, the entry, and the build's time; newest release first."""
    for release in place.kept():
        if release == without:
            continue
        manifest = read_json(f"{place.release(release)}/.deployd/manifest.json")
        if not isinstance(manifest, dict):
            continue
        for entry in manifest["files"]:
            if "sha256" in entry:
                yield release, entry, manifest["built"]


def end_receivers(incoming: str, *, within: float = 5.0) -> None:
    """End what still receives for a connection that broke, and wait until it has put its part of a file aside.

    It would hold that part until its own time limit, and the next try would send the file from its beginning. A
    receiver closes the file before it puts it aside, and leaves the folder when it ends; a second signal would cut that
    short.
    """
    user, deadline = deploy_ids()[0], time.monotonic() + within
    told: set[int] = set()
    while found := dict(_receivers(incoming, user=user)):
        writing = {pid for pid, writes in found.items() if writes}
        for pid in (writing or set(found)) - told:
            told.add(pid)
            try:
                os.kill(pid, 15)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)


def _receivers(incoming: str, *, user: int) -> Iterator[tuple[int, bool]]:
    """The deploy user's other processes in or below the folder: the pid, and whether it has a file open there."""
    for pid in names_in("/proc"):
        process = f"/proc/{pid}"
        try:
            if not pid.isdigit() or int(pid) == os.getpid() or os.stat(process).st_uid != user:
                continue
            opened = [os.readlink(f"{process}/fd/{name}") for name in os.listdir(f"{process}/fd")]
            writes = any(path.startswith(f"{incoming}/") for path in opened)
            if writes or f"{os.readlink(f'{process}/cwd')}/".startswith(f"{incoming}/"):
                yield int(pid), writes
        except OSError:
            continue


def verb_begin(call: Call) -> Json:
    """Take a release's manifest and say which contents the host lacks."""
    place, release = call.place, call.release
    fields = Fields(call.document)
    manifest = fields.get("manifest")
    runtime = fields.text("runtime", kind="runtime") if fields.get("runtime") is not None else None
    fields.finish()
    layout = Layout(manifest, runtime=runtime)
    if runtime is None and not layout.site:
        raise bad_request("'runtime' is missing")
    current = place.read_current()
    sizes = layout.contents()
    free, inodes = disk_free()
    reply: Json = {"current": current, "disk_free": free}
    if place.is_sealed(release):
        if read_json(f"{place.release(release)}/.deployd/manifest.json") != layout.document:
            raise RefusedError(
                "release-exists",
                f"release {release} is on this host already, with other files",
                fix="start a new release: ids are never used twice",
            )
        return reply | {"sealed": True, "missing": [], "have": len(sizes), "bytes_missing": 0, "incoming": None}
    missing = dict(sizes)
    for _, entry, _ in known_files(place):
        missing.pop(entry["sha256"], None)
        if not missing:
            break
    needed = 2 * sum(missing.values())  # they arrive, and are copied
    if needed + DISK_RESERVE > free:
        raise disk_full(needed + DISK_RESERVE)
    names = len(layout.files) + len(layout.links) + len(layout.folders) + len(missing) + 1000
    if inodes is not None and names > inodes:
        raise RefusedError(
            "disk-full",
            f"the host's file system has {inodes} inodes left; {names} are needed",
            fix="make room on the host: `deployd prune` removes releases that are not kept",
        )
    place.make()
    incoming = place.incoming(release)
    make_incoming(incoming)
    end_receivers(incoming)
    write_file(f"{place.begun}/{release}.json", to_json({"manifest": layout.document, "runtime": runtime}), mode=0o600)
    return reply | {
        "sealed": False,
        "missing": sorted(missing),
        "have": len(sizes) - len(missing),
        "bytes_missing": sum(missing.values()),
        "incoming": incoming + "/",
    }
