"""`GET /rollouts/{rollout}?key=...`: a page that says how a rollout goes, for whoever has the link; no token is needed.

Statuses at forges and notifications lead here: who may see them may see this, and it says no more than they may know.
No host, no line of a log, no error's details, nobody's name. The key in the link is a signature of the rollout's id.
"""

from __future__ import annotations

import hmac
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import HTMLResponse

from deployd.daemon import links
from deployd.daemon.api.auth import daemon_of, public
from deployd.daemon.api.shapes import Rollout
from deployd.daemon.wiring import Daemon
from deployd.domain.ids import RolloutId
from deployd.errors import NotFoundError
from deployd.rollouts.story import story

if TYPE_CHECKING:
    from deployd.domain.daemon import QueuedAsk
    from deployd.domain.rollout import RolloutRecord
    from deployd.rollouts.story import StepStory

router = APIRouter(tags=["rollouts"])
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
}
_STYLE = (
    "body{font:16px/1.5 system-ui;margin:3em auto;padding:0 1em;max-width:40em}td{padding:.2em 2em .2em 0}"
    "th{text-align:left;font-weight:normal;color:#666;padding-right:2em}"
)
_AGAIN = 5  # seconds between two looks of a page that is open
_SHORT = 10  # characters of a commit


@router.head("/rollouts/{rollout}", dependencies=[Depends(public)], include_in_schema=False)
@router.get(
    "/rollouts/{rollout}",
    dependencies=[Depends(public)],
    response_class=HTMLResponse,
    responses={404: {"description": "No such rollout, or not its key"}},
)
def page(
    rollout: Rollout, daemon: Annotated[Daemon, Depends(daemon_of)], key: Annotated[str, Query(max_length=100)] = ""
) -> HTMLResponse:
    """How a rollout goes or went, for people who follow a link."""
    known = hmac.compare_digest(
        key.encode("utf-8", "surrogateescape"), links.key(daemon.store.keyring, rollout).encode()
    )
    record = daemon.store.rollouts.find(RolloutId(rollout)) if known else None
    ask = daemon.store.queue.find(RolloutId(rollout)) if known else None
    if record is None and ask is None:
        raise NotFoundError("there is no such page", code="rollout-unknown", fix="take the link as it was given")
    return HTMLResponse(_page(daemon, RolloutId(rollout), record, ask), headers=_HEADERS)


def _page(daemon: Daemon, rollout: RolloutId, record: RolloutRecord | None, ask: QueuedAsk | None) -> str:
    place = (record.app, record.environment) if record else (ask.ask.app, ask.ask.environment) if ask else ("", "")
    state = record.outcome or record.state if record else ask.outcome or ask.state if ask else ""
    over = record.finished is not None if record else ask is not None and ask.finished is not None
    commit, branch = (ask.ask.commit, ask.ask.branch) if ask else (None, None)
    begun, ended = (record.created, record.finished) if record else (ask.created, ask.finished) if ask else ("", None)
    error = (record.error if record else ask.error if ask else None) or {}
    facts = {
        "state": state.replace("_", " "),
        "commit": commit[:_SHORT] if commit else None,
        "branch": branch,
        "release": record.release if record else None,
        "asked": _moment(begun),
        "ended": _moment(ended) if ended else None,
        "because of": (error.get("fields") or {}).get("code"),
    }
    rows = "".join(f"<tr><th>{name}<td>{escape(str(one))}</tr>" for name, one in facts.items() if one)
    steps = "".join(
        f"<tr><td>{escape(one.name)}<td>{'' if one.seconds is None else f'{one.seconds:.1f} s'}"
        f"<td>{_how(one, over)}</tr>"
        for one in story(daemon.store.events.of(rollout))
        if one.name != "rollout"
    )
    title = f"{record.kind if record else ask.ask.kind if ask else ''} of {' '.join(str(one) for one in place if one)}"
    again = "" if over else f"<meta http-equiv=refresh content={_AGAIN}>"
    return (
        f"<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>{again}"
        f"<title>{escape(title)}: {escape(facts['state'] or '')}</title><style>{_STYLE}</style>"
        f"<h1>{escape(title)}</h1><table>{rows}</table>{f'<h2>Steps</h2><table>{steps}</table>' if steps else ''}"
        f"<p>More of it, for those who may: <code>deployd show {rollout}</code></p>"
    )


def _how(step: StepStory, over: bool) -> str:  # noqa: FBT001 - of the rollout that it is a step of
    if step.ok is None:
        return "" if over else "runs"
    return "done" if step.ok else "failed"


def _moment(text: str) -> str:
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S UTC") if text else ""
