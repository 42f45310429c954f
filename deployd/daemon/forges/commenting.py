"""The one comment under a pull request: how its commit stands comes in, the comment is written, or written again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.daemon.forges import calls

if TYPE_CHECKING:
    from deployd.daemon.forges.calls import Standing
    from deployd.daemon.forges.speaking import Speaker
    from deployd.domain.ids import AppName
    from deployd.store import Store


def text(standing: Standing, *, held: int | None = None) -> str:
    """What the comment says; `held` is the number of a fork's pull request that waits for a yes."""
    if held is not None:
        return (
            f"**{standing.app}**: {standing.commit[:10]} comes from a fork. "
            f"A preview of it is built once somebody says `deployd approve pull/{held}`."
        )
    where = f"See it: {standing.url}" if standing.url and standing.state == "prepared" else ""
    log = f"How it went: {standing.log_url}" if standing.log_url else ""
    lines = [f"**{standing.app}** {standing.text} ({standing.commit[:10]}).", where, log]
    return "\n\n".join(line for line in lines if line)


def say(store: Store, speaker: Speaker, *, app: AppName, repository: str, number: int, text: str) -> None:
    """Write the comment, or write it again; one that somebody deleted is made anew."""
    preview = store.previews.find(app, number)
    if preview is None:
        return
    known, version = preview.comment, None
    if known:
        asked = calls.comment_now(speaker.forge, repository=repository, number=number, known=known)
        now = speaker.say(asked) if asked else None
        if asked is not None:
            version = (now or {}).get("version")
            known = known if isinstance(version, int) else None
    call = calls.comment(
        speaker.forge, repository=repository, number=number, text=text, known=known, version=version if known else None
    )
    answer = speaker.say(call)
    if answer is None and known:
        answer = speaker.say(calls.comment(speaker.forge, repository=repository, number=number, text=text))
    if answer is not None and answer.get("id") is not None:
        store.previews.change(app, number, comment=answer["id"])
