"""Events of rollouts come in; what people and forges are told goes out: notifications, commit statuses, comments.

Nothing here can slow or fail a rollout: it hears of them in the listeners' thread and speaks in threads of its own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from deployd import logs, notify
from deployd.daemon import links, previews
from deployd.daemon.background import Background, GiveUpError
from deployd.daemon.forges import calls, commenting, speaking
from deployd.daemon.forges.calls import Standing
from deployd.daemon.hooks.asking import PREVIEW
from deployd.domain.events import Event
from deployd.store import moments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.daemon.forges.calls import State
    from deployd.daemon.hub import Told
    from deployd.daemon.wiring import Daemon
    from deployd.domain.ask import Ask
    from deployd.domain.daemon import QueuedAsk
    from deployd.domain.rollout import RolloutRecord
    from deployd.notify import Moment, Note

_STATES: dict[str, State] = {
    "live": "live",
    "prepared": "prepared",
    "waiting": "prepared",
    "held": "running",
    "failed": "failed",
    "partly_live": "failed",
    "cancelled": "stopped",
    "superseded": "stopped",
}
_TEXTS = {
    "running": "is being released",
    "live": "is live",
    "prepared": "is prepared",
    "waiting": "is prepared, and waits for an approval",
    "held": "waits for an approval, because it comes from a fork: deployd approve",
    "failed": "failed; what was live is live",
    "partly_live": "is live on some hosts only: needs a person",
    "cancelled": "was cancelled; what was live is live",
    "superseded": "was replaced by a newer one",
}
_KNOWN_DEPLOYMENTS = 500
_AGAIN, _RECENT = 50, 3600.0  # so many asks that ended so many seconds ago are told again at the start


class Announcer:
    """The part that tells."""

    name = "announcer"

    def __init__(self, *, pauses: tuple[float, ...] | None = None) -> None:
        more = {} if pauses is None else {"pauses": pauses}
        self.forges = Background("forges", **more)  # type: ignore[arg-type]
        self.notes = Background("notifications", **more)  # type: ignore[arg-type]
        self._deployments: dict[str, int] = {}
        self._daemon: Daemon | None = None
        self._log = logs.logger(self.name)

    def start(self, daemon: Daemon) -> None:
        """Begin to listen; forges are told again how the last pushes ended."""
        self._daemon = daemon
        daemon.hub.listeners.append(self.hear)
        self.forges.add("what ended last", lambda: self._tell_again(daemon))

    def stop(self) -> None:
        """Say what is due, for a moment."""
        self.forges.stop()
        self.notes.stop()

    def hear(self, told: Told) -> None:
        """One event of one rollout."""
        daemon = self._daemon
        if daemon is None or told.event not in {Event.ROLLOUT_STARTED, Event.ROLLOUT_FINISHED}:
            return
        outcome = "running" if told.event == Event.ROLLOUT_STARTED else str(told.fields.get("outcome"))
        queued, record = daemon.store.queue.find(told.rollout), daemon.store.rollouts.find(told.rollout)
        if outcome == "ignored" and queued is not None and previews.is_held(daemon.store, queued.ask):
            outcome = "held"
        if outcome not in _TEXTS:
            return
        rollout = record or queued
        if rollout is not None:
            self._notify(daemon, rollout, outcome, told.fields)
        if queued is not None:
            self._tell_forge(daemon, queued, outcome, told.fields)

    # people

    def _notify(
        self, daemon: Daemon, rollout: RolloutRecord | QueuedAsk, outcome: str, fields: Mapping[str, Any]
    ) -> None:
        about = _about(rollout)
        moment = _moment(about["kind"], outcome)
        if moment is None or fields.get("resumed"):
            return
        note = _note(about, moment, outcome, fields, link=links.page(daemon, rollout.id))
        for target in daemon.store.secrets.all("notify"):
            wanted = target.extra.get("events") or notify.MOMENTS
            if target.app not in {"", about["app"]} or moment not in wanted:
                continue
            self.notes.add(f"{target.name}: {moment}", _sending(daemon, target.app, target.name, note))

    # forges

    def _tell_again(self, daemon: Daemon) -> None:
        """The process before may have ended before forges took what it said: a status would say pending for ever."""
        since = moments.from_epoch(time.time() - _RECENT)
        for queued in reversed(daemon.store.queue.latest(limit=_AGAIN)):
            if queued.outcome not in _TEXTS or (queued.finished or "") < since:
                continue
            if queued.ask.cause == "pull_request" and not previews.is_untold(daemon.store, queued.ask):
                continue
            record = daemon.store.rollouts.find(queued.id)
            fields = {"release": record.release if record else None, "what": queued.reason}
            self._tell_forge(daemon, queued, queued.outcome, fields, again=True)

    def _tell_forge(
        self, daemon: Daemon, queued: QueuedAsk, outcome: str, fields: Mapping[str, Any], *, again: bool = False
    ) -> None:
        ask, details = queued.ask, queued.ask.details or {}
        forge, named = details.get("forge"), details.get("repository")
        repository = named.get("name") if isinstance(named, dict) else named
        environment = PREVIEW if ask.cause == "pull_request" else ask.environment
        if ask.cause == "pull_request" and outcome not in {"running", "held"}:
            self._keep_preview(daemon, queued, outcome, fields)
        if not forge or not repository or not ask.commit:
            return
        speaker = speaking.speaker(daemon.store, ask.app, str(forge))
        if speaker is None:
            return
        standing = Standing(
            app=str(ask.app),
            environment=str(environment) or "push",
            repository=str(repository),
            commit=ask.commit,
            state="running" if outcome == "running" else _STATES[outcome],
            text=_text(ask, environment, outcome, fields),
            url=_seen_at(daemon, queued, fields),
            log_url=links.page(daemon, queued.id),
        )
        what = f"{forge}: {standing.commit[:10]} {outcome}"
        key = f"{forge} {standing.repository} {standing.commit} {standing.app} {standing.environment}"
        status = calls.status(speaker.forge, standing)
        self.forges.add(what, lambda: _refused_when_gone(speaker.say(status)), key=f"{key} status")
        if speaker.forge == "github" and environment and outcome != "held":
            deploy = f"{key} {queued.id}"
            self.forges.add(
                f"{what} (deployment)", lambda: self._deploy(speaker, standing, str(queued.id), again=again), key=deploy
            )
        if ask.cause == "pull_request" and outcome != "running":
            number = int(details.get("number") or 0)
            about = commenting.text(standing, held=number if outcome == "held" else None)
            self.forges.add(
                f"{what} (comment)",
                lambda: commenting.say(
                    daemon.store, speaker, app=ask.app, repository=standing.repository, number=number, text=about
                ),
                key=f"comment {ask.app} {number}",
            )

    def _deploy(self, speaker: speaking.Speaker, standing: Standing, rollout: str, *, again: bool) -> None:
        number = self._deployments.get(rollout)
        if number is None and again:
            place = f"{standing.app}/{standing.environment}"
            asked = calls.deployments(standing.repository, environment=place, commit=standing.commit)
            made = next(iter((speaker.say(asked) or {}).get("items") or []), None)
            if made is None:
                return
            number = self._deployments[rollout] = int(made["id"])
        if number is None:
            made = speaker.say(calls.deployment(standing))
            if made is None or not isinstance(made.get("id"), int):
                raise GiveUpError("the forge made no deployment")
            while len(self._deployments) >= _KNOWN_DEPLOYMENTS:
                self._deployments.pop(next(iter(self._deployments)))
            number = self._deployments[rollout] = made["id"]
        _refused_when_gone(speaker.say(calls.deployment_status(standing, number)))

    def _keep_preview(self, daemon: Daemon, queued: QueuedAsk, outcome: str, fields: Mapping[str, Any]) -> None:
        app, number = queued.ask.app, int((queued.ask.details or {}).get("number") or 0)
        preview = daemon.store.previews.find(app, number)
        if preview is None or preview.state in {"closed", "gone"} or outcome == "superseded":
            return
        release = fields.get("release") if outcome in {"prepared", "live", "waiting"} else None
        daemon.store.previews.change(
            app,
            number,
            state="ready" if release else "failed",
            rollout=queued.id,
            release=release or preview.release,
            address=previews.address(daemon.settings, app, release, wish=queued.wish) if release else preview.address,
        )


def _sending(daemon: Daemon, app: str, name: str, note: Note) -> Any:
    def send() -> None:
        address = daemon.store.secrets.reveal("notify", app=app, name=name)
        if address is not None and not notify.send(address, note):
            raise ConnectionError

    return send


def _about(rollout: RolloutRecord | QueuedAsk) -> dict[str, Any]:
    """What a note tells of a rollout, or of an ask that failed before it became one."""
    from deployd.domain.daemon import QueuedAsk

    what = rollout.ask if isinstance(rollout, QueuedAsk) else rollout
    return {
        "kind": str(what.kind),
        "app": str(what.app),
        "place": f"{what.app} {what.environment}".strip(),
        "who": what.who,
        "error": (rollout.error or {}).get("fields") or {},
        "site": _site(rollout.wish),
    }


def _moment(kind: str, outcome: str) -> Moment | None:
    if outcome == "running":
        return "started"
    if outcome in {"waiting", "held"}:
        return "waiting"
    if outcome == "live":
        return "rolled_back" if kind == "rollback" else "live"
    return "failed" if outcome in {"failed", "partly_live"} else None


def _note(
    about: Mapping[str, Any], moment: Moment, outcome: str, fields: Mapping[str, Any], *, link: str | None
) -> Note:
    release, kind = fields.get("release"), about["kind"]
    told = {
        "started": f"{kind} started",
        "live": f"{release} is live",
        "rolled_back": f"back to {release}",
        "waiting": f"{release} waits for an approval" if release else "a fork's pull request waits for an approval",
        "failed": "the rollout failed" if outcome == "failed" else "live on some hosts only: needs a person",
    }[moment]
    error = about["error"]
    seen = about["site"] if moment in {"live", "rolled_back"} else None
    lines = [f"by {about['who']}", str(error.get("what") or ""), str(error.get("fix") or ""), str(seen or "")]
    title = f"{about['place']}: {told}"
    return notify.Note(moment=moment, title=title, lines=tuple(line for line in lines if line), link=link)


def _text(ask: Ask, environment: str, outcome: str, fields: Mapping[str, Any]) -> str:
    what = fields.get("what")
    told = f"{environment or ask.app} {_TEXTS[outcome]}"
    if outcome == "held":
        return f"{told} {ask.branch}"
    return f"{told}: {what}" if what and outcome == "failed" else told


def _seen_at(daemon: Daemon, queued: QueuedAsk, fields: Mapping[str, Any]) -> str | None:
    release = fields.get("release")
    if queued.ask.cause == "pull_request" or not queued.ask.activate:
        named = str(release) if release else None
        return previews.address(daemon.settings, queued.ask.app, named, wish=queued.wish)
    return _site(queued.wish)


def _site(wish: Mapping[str, Any] | None) -> str | None:
    """The address that visitors have, of the wish's first whole domain."""
    domains = ((((wish or {}).get("options") or {}).get("run")) or {}).get("domains") or ()
    return next((f"https://{one}" for one in domains if not str(one).startswith("*")), None)


def _refused_when_gone(answer: Mapping[str, Any] | None) -> None:
    if answer is None:
        raise GiveUpError("the forge knows no such repository or commit, or the token may not see it")
