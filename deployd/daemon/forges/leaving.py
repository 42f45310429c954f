"""What a forge is told when a preview goes: its comment says so, and its deployments are inactive. One try: no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd import logs
from deployd.daemon.forges import calls, commenting, speaking
from deployd.daemon.forges.calls import Standing

if TYPE_CHECKING:
    from deployd.store import Store
    from deployd.store.previews import Preview


def comment(store: Store, preview: Preview) -> None:
    """Say under the pull request that its address leads nowhere now."""
    speaker = speaking.speaker(store, preview.app, preview.forge)
    if speaker is None or preview.comment is None:
        return
    try:
        commenting.say(
            store,
            speaker,
            app=preview.app,
            repository=_repository(preview),
            number=preview.number,
            text=f"**{preview.app}**: the preview was removed.",
        )
    except Exception as error:  # noqa: BLE001 - a forge that is down keeps nothing on the hosts
        _missed(preview, error)


def deactivate(store: Store, preview: Preview, commit: str) -> None:
    """Have GitHub show the deployments of a commit of the pull request no more."""
    speaker = speaking.speaker(store, preview.app, preview.forge) if preview.forge == "github" else None
    if speaker is None:
        return
    standing = Standing(
        app=str(preview.app),
        environment="preview",
        repository=_repository(preview),
        commit=commit,
        state="stopped",
        text="the preview was removed",
    )
    asked = calls.deployments(standing.repository, environment=f"{standing.app}/preview", commit=commit)
    try:
        for one in (speaker.say(asked) or {}).get("items") or []:
            speaker.say(calls.deployment_status(standing, int(one["id"])))
    except Exception as error:  # noqa: BLE001 - as above
        _missed(preview, error)


def _repository(preview: Preview) -> str:
    return str((preview.pull.get("repository") or {}).get("name"))


def _missed(preview: Preview, error: Exception) -> None:
    logs.logger("previews").warning("forge_not_told", forge=preview.forge, reason=type(error).__name__)
