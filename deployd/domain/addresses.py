"""Where a release can be seen by its own name: label, app and preview domain come in, a host name goes out."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from deployd.domain import sites
from deployd.domain.ids import ReleaseId

if TYPE_CHECKING:
    from deployd.domain.options import Run

LONGEST = 63  # of one word in a domain name


def preview_name(label: str, *, app: str, domain: str) -> str:
    """`<label>.<app>.<domain>`, where the label is a release's id or what `branch_label` makes of a branch."""
    return f"{label}.{app}.{domain}"


def preview_url(run: Run, label: str, *, app: str) -> str | None:
    """The address of a release (or a branch's word) as these options have it; None without a `preview_domain`."""
    if not run.preview_domain:
        return None
    name = preview_name(label, app=app, domain=run.preview_domain)
    if sites.way_of(run) != "off":
        return f"https://{name}"
    return f"http://{name}" + ("" if run.port == sites.HTTP else f":{run.port}")


def branch_label(branch: str) -> str | None:
    """A branch as one word of an address: `feature/New Look` is `feature-new-look`, `pull/12` is `pr-12`.

    None for a branch that has no letters or digits, or whose word would be a release's or a pull request's. Hosts do
    the same (playbooks/files/deployd-host), and a test holds the two together.
    """
    pull = re.fullmatch(r"pull/([0-9]{1,9})", branch)
    if pull:
        return f"pr-{pull[1]}"
    label = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-")
    if len(label) > LONGEST:
        label = f"{label[: LONGEST - 9].strip('-')}-{hashlib.sha256(branch.encode()).hexdigest()[:8]}"
    is_anothers = re.fullmatch(r"pr-[0-9]+", label) or ReleaseId.pattern.fullmatch(label)
    return None if not label or is_anothers else label
