"""A release comes in, files go out by whose names requests find it: `pins/<deployment>/<it>`, `names/<label>/<it>`."""

from __future__ import annotations

import os

from deployd_host.files import make_folder, names_in, read_bytes, read_json, remove_tree, write_file
from deployd_host.paths import LONGEST_LABEL
from deployd_host.words import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.places import Place


def deployment_ids(place: Place, release: str) -> set[str]:
    """What a page of this release calls itself: its id, its build's, the one that next.config.js may set, and the name
    that Next.js gives to the build (in `_next/data/<it>/`; with a deployment id, 16 has the same for all builds).
    """
    own = place.release(release) + "/.deployd"
    provenance = read_json(own + "/provenance.json")
    app = os.path.dirname(os.path.realpath(own + "/entry"))
    built = read_json(app + "/.next/required-server-files.json")
    told = [
        release,
        provenance.get("build_id") if isinstance(provenance, dict) else None,
        (built.get("config") or {}).get("deploymentId") if isinstance(built, dict) else None,
        (read_bytes(app + "/.next/BUILD_ID") or b"").decode(errors="replace"),
    ]
    return {str(one) for one in told if matches("deployment", one)}


def pin(place: Place, release: str) -> None:
    """Let requests of pages that came from this release find it, for as long as it is kept.

    Only for what is or was live: a release that was never shown to visitors is reached by its own address alone.
    """
    make_folder(place.pins)
    for name in deployment_ids(place, release):
        folder = f"{place.pins}/{name}"
        make_folder(folder)
        os.close(os.open(f"{folder}/{release}", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644))
        for other in names_in(folder):  # another release of the same build: the one that goes live now answers
            if other != release:
                remove_tree(f"{folder}/{other}")


def unpin(place: Place, release: str) -> None:
    """Forget the names of a release that is about to be removed; its clients get the current one, and reload."""
    for name in deployment_ids(place, release):
        remove_tree(f"{place.pins}/{name}/{release}")
        if not names_in(f"{place.pins}/{name}"):
            remove_tree(f"{place.pins}/{name}")


def branch_label(branch: str) -> str | None:
    """A branch as one word of an address: `feature/New Look` is `feature-new-look`, `pull/12` is `pr-12`."""
    import hashlib
    import re

    pull = re.fullmatch(r"pull/([0-9]{1,9})", branch)
    if pull:
        return f"pr-{pull[1]}"
    label = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-")
    if len(label) > LONGEST_LABEL:
        label = f"{label[: LONGEST_LABEL - 9].strip('-')}-{hashlib.sha256(branch.encode()).hexdigest()[:8]}"
    is_anothers = re.fullmatch(r"pr-[0-9]+", label) or matches("release", label)
    return None if not label or is_anothers else label


def labels(place: Place, release: str) -> set[str]:
    """The words by which a release can be asked for: its id, and its branch's or pull request's."""
    provenance = read_json(place.release(release) + "/.deployd/provenance.json")
    branch = provenance.get("branch") if isinstance(provenance, dict) else None
    label = branch_label(branch) if isinstance(branch, str) else None
    return {release, label} if label else {release}


def give_names(place: Place, release: str) -> None:
    """Give a release that is started its addresses. A branch's is that of its newest release."""
    make_folder(place.names)
    for label in labels(place, release):
        folder = f"{place.names}/{label}"
        make_folder(folder)
        if any(other > release for other in names_in(folder)):
            continue
        write_file(f"{folder}/{release}", "")
        for other in names_in(folder):
            if other != release:
                remove_tree(f"{folder}/{other}")


def take_names(place: Place, release: str) -> None:
    """Take a release's addresses away; its branch's goes to the newest of the branch that is left."""
    for label in labels(place, release):
        if release not in names_in(f"{place.names}/{label}"):
            continue
        left = [one for one in place.kept() if one != release and label in labels(place, one) and place.is_started(one)]
        remove_tree(f"{place.names}/{label}/{release}")
        if left:
            write_file(f"{place.names}/{label}/{left[0]}", "")
        else:
            remove_tree(f"{place.names}/{label}")
            remove_tree(f"{place.shares}/{label}")
