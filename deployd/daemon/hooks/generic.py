"""deployd's own signed hook, for any git server or script: a small payload comes in, a Push or Ping goes out.

`{"ref": "refs/heads/main", "after": "<commit>", "before": "<commit>", "files": ["app/page.tsx"], "message": "...",
"who": "anna", "repository": "shop"}`; only `ref` and `after` are needed, and `{"ping": true}` tries the address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.daemon.hooks import reading
from deployd.daemon.hooks.values import Change, Ignored, Ping, Push, Repository

if TYPE_CHECKING:
    from deployd.daemon.hooks.reading import Payload
    from deployd.daemon.hooks.values import Delivered


def parse(payload: Payload, *, delivery: str) -> Delivered:
    """Read one delivery; raises UsageError (`hook-malformed`)."""
    if payload.flag("ping"):
        return Ping(forge="generic", delivery=delivery)
    ref = payload.ref("ref")
    split = reading.split_ref(ref)
    if split is None:
        return Ignored(forge="generic", delivery=delivery, reason=f"{ref} is neither a branch nor a tag")
    kind, name = split
    files = payload.files("files")
    change = Change(
        kind="tag" if kind == "tag" else "branch",
        name=name,
        before=payload.commit("before"),
        after=payload.commit("after"),
        forced=payload.flag("forced"),
        files=tuple(sorted(set(files))) if files else None,
        message=payload.message("message"),
    )
    who = payload.maybe("who")
    return Push(
        forge="generic",
        delivery=delivery,
        repository=Repository(name=payload.maybe("repository") or ""),
        changes=(change,),
        who=f"hook:{who}" if who else "hook",
    )
