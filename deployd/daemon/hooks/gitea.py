"""Gitea's and Forgejo's delivery: like GitHub's, but for what a push says of its head."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deployd.daemon.hooks import github
from deployd.daemon.hooks.values import Push

if TYPE_CHECKING:
    from deployd.daemon.hooks.reading import Payload
    from deployd.daemon.hooks.values import Delivered


def parse(event: str, payload: Payload, *, delivery: str) -> Delivered:
    """Read one delivery; raises UsageError (`hook-malformed`)."""
    delivered = github.parse(event, payload, delivery=delivery, forge="gitea")
    if isinstance(delivered, Push):
        # a forced push is not marked as one: its commits may be fewer than what changed, so git has the last word
        (change,) = delivered.changes
        if change.message is None:
            return replace(delivered, changes=(replace(change, message=_message(payload, change.after)),))
    return delivered


def _message(payload: Payload, after: str | None) -> str | None:
    for commit in payload.parts("commits"):
        if after is not None and commit.commit("id") == after:
            return commit.message("message")
    return None
