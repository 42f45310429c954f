"""What a forge said becomes what deployd is asked: pure, without git and without the store.

Which environment a push is for is found later, with the repository at hand: the answer to the forge waits for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.daemon.hooks import filters, values
from deployd.daemon.hooks.values import Ignored, Ping, PullRequest, Push
from deployd.domain.ask import Ask
from deployd.domain.ids import EnvironmentName
from deployd.store.deliveries import Arrival

if TYPE_CHECKING:
    from deployd.daemon.hooks.values import Change, Delivered
    from deployd.domain.ids import AppName

_MOST_FILES = 200
PREVIEW = EnvironmentName("preview")


def arrival(app: AppName, delivered: Delivered, *, origin: str) -> Arrival:
    """The row of a delivery, with the asks that it makes, or the reason why it makes none."""
    asks: tuple[Ask, ...] = ()
    reason: str | None = None
    match delivered:
        case Push():
            asks, reason = _of_push(app, delivered)
        case PullRequest():
            asks = (_of_pull(app, delivered),)
        case Ping():
            reason = "the forge tried the address"
        case Ignored():
            reason = delivered.reason
    return Arrival(
        app=str(app),
        delivery=delivered.delivery,
        forge=delivered.forge,
        origin=origin,
        what=_short(delivered),
        asks=asks,
        reason=reason,
    )


def _of_push(app: AppName, push: Push) -> tuple[tuple[Ask, ...], str | None]:
    asks, reasons = [], []
    for change in push.changes:
        if change.after is None:
            reasons.append(f"{change.kind} {change.name} was deleted")
        elif filters.says_skip(change.message):
            reasons.append(f"the message of {change.after[:10]} says [skip deploy]")
        else:
            asks.append(_of_change(app, push, change))
    return tuple(asks), None if asks else "; ".join(reasons) or "nothing moved"


def _of_change(app: AppName, push: Push, change: Change) -> Ask:
    files = change.files if change.files and len(change.files) <= _MOST_FILES else None
    return Ask(
        kind="release",
        app=app,
        environment=EnvironmentName(""),
        cause="push",
        who=push.who,
        key=f"push:{app}:{push.delivery}:{change.kind}:{change.name}",
        ref=f"refs/tags/{change.name}" if change.kind == "tag" else change.name,
        commit=change.after,
        branch=change.name if change.kind == "branch" else f"tag {change.name}",
        automatic=True,
        details={
            "forge": push.forge,
            "delivery": push.delivery,
            "repository": push.repository.name,
            "page": push.repository.url,
            "before": change.before,
            "forced": change.forced,
            "tag": change.name if change.kind == "tag" else None,
            "files": list(files) if files else None,
        },
    )


def _of_pull(app: AppName, pull: PullRequest) -> Ask:
    """A pull request is asked for too: previews.py takes these out of the queue and decides."""
    return Ask(
        kind="release",
        app=app,
        environment=EnvironmentName(""),
        cause="pull_request",
        who=pull.who,
        key=f"pull:{app}:{pull.delivery}",
        ref=pull.ref,
        commit=pull.commit,
        branch=f"pull/{pull.number}",
        activate=False,
        automatic=True,
        message=pull.title,
        details=values.to_json(pull),
    )


def _short(delivered: Delivered) -> dict[str, object]:
    """What is kept of a delivery: no list of files, no long message."""
    kept = values.to_json(delivered)
    for change in kept.get("changes", ()):
        change["files"] = None if change["files"] is None else len(change["files"])
        change["message"] = (change["message"] or "")[:200]
    return kept
