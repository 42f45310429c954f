"""Pull requests come in, prepared releases in the environment `preview` go out, and are gone once nobody needs them.

A fork's pull request waits until somebody approves its very commit; it is then built in the environment `fork`, which
has no variables of anybody's, with hosts and options of the default branch. What was closed is removed from the hosts,
also when the forge's word of it was lost: open ones are compared with the forge, and all have a time to live.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from deployd import appfile, logs
from deployd.daemon.forges import calls, leaving, speaking
from deployd.daemon.hooks import filters, values
from deployd.daemon.hooks.asking import PREVIEW
from deployd.daemon.hooks.values import PullRequest
from deployd.domain import repository
from deployd.domain.addresses import preview_url
from deployd.domain.events import Event
from deployd.domain.ids import EnvironmentName
from deployd.domain.options import APP_FILE, Keep
from deployd.domain.release import ReleaseState
from deployd.errors import DeploydError, HostError, NotFoundError
from deployd.store.moments import parse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from deployd.appfile import AppEnvironment, AppFile
    from deployd.daemon.hub import Told
    from deployd.daemon.wiring import Daemon
    from deployd.domain.ask import Ask
    from deployd.domain.daemon import RegisteredApp
    from deployd.domain.ids import AppName, ReleaseId, RolloutId
    from deployd.stages.source import History
    from deployd.store import Store
    from deployd.store.previews import Preview

FORK = EnvironmentName("fork")
EVERY = 300.0  # seconds between two looks


def places(ask: Ask, *, app: RegisteredApp, history: History, store: Store) -> tuple[tuple[Ask, ...], str]:
    """What a delivery about a pull request asks for now, and the reason when that is nothing."""
    pull = values.from_json(dict(ask.details or {}))
    if not isinstance(pull, PullRequest):
        return (), "it is no pull request"
    known = store.previews.find(ask.app, pull.number)
    if _is_elsewhere(pull, app=app, known=known):
        return (), f"pull request {pull.number} is of {pull.repository.name}, which is another repository"
    before = known.pull.get("at") if known is not None else None
    if before is not None and pull.at is not None and pull.at < before:
        return (), f"something newer is known of pull request {pull.number}: this delivery was late"
    if pull.action == "closed":
        if known is not None and known.state != "gone":
            kept = dict(known.pull) | {"at": pull.at}
            store.previews.put(ask.app, pull.number, forge=known.forge, pull=kept, state="closed")
        return (), f"pull request {pull.number} was closed"
    return _opened(ask, pull, known=known, app=app, history=history, store=store)


def _opened(
    ask: Ask, pull: PullRequest, *, known: Preview | None, app: RegisteredApp, history: History, store: Store
) -> tuple[tuple[Ask, ...], str]:
    """The same, of one that is open."""
    trusted = trusted_file(history, app)
    here = trusted.environments.get(PREVIEW) if trusted else None
    if here is None or not here.hosts:
        return (), f"{APP_FILE} of the default branch has no environment `preview` with hosts"
    reason = _nothing_to_build(ask, pull, known=known, app=app, here=here, history=history, store=store)
    if reason:
        return (), reason
    kept = dict(ask.details or {}) | {"keep": here.options.previews.keep}
    approved = known is not None and known.approved == pull.commit
    if pull.fork and not approved:
        store.previews.put(ask.app, pull.number, forge=pull.forge, pull=kept, state="held")
        return (), f"{pull.commit[:10]} comes from a fork: `deployd approve pull/{pull.number}` builds it"
    store.previews.put(ask.app, pull.number, forge=pull.forge, pull=kept, state="asked")
    _make_room(store, ask.app, here.options.previews.most)
    return (replace(ask, environment=FORK if pull.fork else PREVIEW),), ""


def _is_elsewhere(pull: PullRequest, *, app: RegisteredApp, known: Preview | None) -> bool:
    """Whether it is another repository's: a webhook of a whole organisation tells of all of them under one address."""
    if repository.is_another(app.repository, name=pull.repository.name, page=pull.repository.url):
        return True
    if known is None or known.state == "gone":
        return False
    before = (known.pull.get("repository") or {}).get("name")
    return bool(before) and str(before).casefold() != pull.repository.name.casefold()


def _nothing_to_build(
    ask: Ask,
    pull: PullRequest,
    *,
    known: Preview | None,
    app: RegisteredApp,
    here: AppEnvironment,
    history: History,
    store: Store,
) -> str | None:
    """Why a pull request needs no preview (or none again), or None."""
    if filters.says_skip(pull.message) or filters.says_skip(history.message(pull.commit)):
        return f"the message of {pull.commit[:10]} says [skip deploy]"
    if known is not None and known.state == "ready" and known.pull.get("commit") == pull.commit:
        return f"{pull.commit[:10]} is prepared already, as {known.release}"
    for other in (*store.queue.waiting(), *store.queue.running()):
        same = (other.ask.app, other.ask.branch, other.ask.commit) == (ask.app, ask.branch, pull.commit)
        if same and other.ask.environment:
            return f"{pull.commit[:10]} is being prepared by {other.id}"
    base = history.tip(pull.base)
    changed = history.changed_on(base, pull.commit) if base else None
    if not changed or known is not None:  # what has a preview gets each of its commits
        return None
    used = history.used_folders(pull.commit, app.subdir)
    if filters.concerns(changed, subdir=app.subdir, used=used, push=here.options.push):
        return None
    return f"pull request {pull.number} changes nothing of {app.subdir or 'the app'}"


def is_held(store: Store, ask: Ask) -> bool:
    """Whether an ask is of a fork's pull request that waits for somebody's yes at this very commit."""
    known = store.previews.find(ask.app, int((ask.details or {}).get("number") or 0))
    return (
        ask.cause == "pull_request"
        and known is not None
        and known.state == "held"
        and known.pull.get("commit") == ask.commit
    )


def is_untold(store: Store, ask: Ask) -> bool:
    """Whether nobody kept yet what became of a pull request's commit: the process ended just then."""
    known = store.previews.find(ask.app, int((ask.details or {}).get("number") or 0))
    return known is not None and known.state == "asked" and known.pull.get("commit") == ask.commit


def chosen(ask: Ask, file: AppFile, trusted: AppFile | None, *, domain: str | None) -> AppEnvironment:
    """Hosts and options of a pull request's release; nothing of a fork's own file counts.

    Its address is below `domain` (the daemon's setting) where the file names no `preview_domain`.
    """
    source = trusted if ask.environment == FORK or PREVIEW not in file.environments else file
    if source is None:
        raise NotFoundError(
            f"{APP_FILE} of the default branch has no environment `preview`",
            code="environment-not-found",
            fix=f"add [environments.preview] to {APP_FILE}",
        )
    found = source.environment(PREVIEW)
    most, run = found.options.previews.most, found.options.run
    run = replace(run, preview_domain=run.preview_domain or domain)
    return replace(found, options=replace(found.options, run=run, keep=Keep(releases=most, failed=2 * most)))


def trusted_file(history: History, app: RegisteredApp) -> AppFile | None:
    """The app's file of the default branch."""
    commit = history.default()
    text = history.file(commit, app.file) if commit else None
    return appfile.parse(text, path=f"{app.file} of the default branch") if text is not None else None


def approve(daemon: Daemon, app: AppName, number: int, *, who: str) -> RolloutId:
    """Say yes to the commit that a fork's pull request has now; it is asked for. Raises NotFoundError."""
    known = daemon.store.previews.find(app, number)
    if known is None or known.state != "held":
        raise NotFoundError(
            f"pull request {number} of {app} does not wait for an approval",
            code="preview-not-held",
            fix="`deployd preview list` shows those that wait",
        )
    pull = {key: value for key, value in known.pull.items() if key != "keep"}
    daemon.store.previews.change(app, number, approved=pull["commit"])
    rollout, _ = daemon.ask(
        ask_of(app, pull, key=f"pull:{app}:{number}:{pull['commit']}:approved", who=who), origin=f"approved by {who}"
    )
    return rollout


def ask_of(app: AppName, pull: Mapping[str, Any], *, key: str, who: str) -> Ask:
    """The ask of a kept pull request."""
    from deployd.domain.ask import Ask

    return Ask(
        kind="release",
        app=app,
        environment=EnvironmentName(""),
        cause="pull_request",
        who=who,
        key=key,
        ref=pull["ref"],
        commit=pull["commit"],
        branch=f"pull/{pull['number']}",
        activate=False,
        automatic=True,
        message=pull["title"],
        details=dict(pull),
    )


def address(
    settings: Mapping[str, Any], app: str, release: str | None, *, wish: Mapping[str, Any] | None = None
) -> str | None:
    """Where a release can be seen by its own name: as the environment's `preview_domain` has it, else the daemon's.

    None when neither is set.
    """
    from deployd.rollouts.wishes import options_from_json

    run = options_from_json((wish or {}).get("options") or {}).run
    own = preview_url(run, release, app=app) if release else None
    if own:
        return own
    domain = settings.get("preview_domain")
    return f"https://{release}.{app}.{domain}" if domain and release else None


class Reconciler:
    """The part that removes previews: now and then, and whenever it is woken."""

    name = "previews"

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._daemon: Daemon | None = None
        self._log = logs.logger(self.name)

    def start(self, daemon: Daemon) -> None:
        """Begin."""
        self._daemon = daemon
        daemon.hub.listeners.append(self._hear)
        self._thread = threading.Thread(target=self._live, args=(daemon,), daemon=True, name=self.name)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ended.set()
        self._woken.set()
        if self._thread:
            self._thread.join(2.0)

    def wake(self) -> None:
        """A pull request was closed, or another release of it is ready."""
        self._woken.set()

    def _hear(self, told: Told) -> None:
        """What was said about a pull request may have closed it, or made an earlier release of it useless."""
        if told.event != Event.ROLLOUT_FINISHED or self._daemon is None:
            return
        queued = self._daemon.store.queue.find(told.rollout)
        if queued is not None and queued.ask.cause == "pull_request":
            self.wake()

    def _live(self, daemon: Daemon) -> None:
        asked = -EVERY
        while not self._ended.is_set():
            try:
                if time.monotonic() - asked >= EVERY:
                    asked = time.monotonic()
                    if daemon.leads():  # of several daemons on one database, one asks the forge
                        self.look(daemon)
                else:
                    self.tidy(daemon)
            except Exception:  # noqa: BLE001 - the next look may fare better
                self._log.exception("previews_failed")
            self._woken.wait(max(1.0, asked + EVERY - time.monotonic()))
            self._woken.clear()

    def look(self, daemon: Daemon) -> None:
        """Close what the forge says is closed and what is too old; remove what is closed."""
        for preview in daemon.store.previews.all():
            if self._ended.is_set():
                return
            if preview.state != "closed" and (_is_old(preview) or not self._is_open(daemon, preview)):
                daemon.store.previews.change(preview.app, preview.number, state="closed")
        self.tidy(daemon)

    def tidy(self, daemon: Daemon) -> None:
        """Remove what is closed, and the earlier releases of what is ready: nobody has their address any more."""
        for preview in daemon.store.previews.all():
            if self._ended.is_set():
                return
            gone: list[str] = []
            if preview.state == "ready" and preview.release is not None:
                remove(daemon, preview, but=preview.release, gone=gone)
            done = preview.state == "closed" and remove(daemon, preview, gone=gone)
            for commit in {commit for commit in gone if commit != preview.pull.get("commit") or done}:
                leaving.deactivate(daemon.store, preview, commit)
            if done:
                if not daemon.store.previews.change(preview.app, preview.number, state="gone", only="closed"):
                    continue  # it was opened again in the meantime
                self._log.info("preview_removed", app=preview.app, number=preview.number, release=preview.release)
                leaving.comment(daemon.store, preview)

    def _is_open(self, daemon: Daemon, preview: Preview) -> bool:
        """What the forge says; while it cannot be asked, a preview counts as open."""
        speaker = speaking.speaker(daemon.store, preview.app, preview.forge)
        if speaker is None:
            return True
        name = str((preview.pull.get("repository") or {}).get("name"))
        try:
            answer = speaker.say(calls.pull(preview.forge, repository=name, number=preview.number))
        except Exception as error:  # noqa: BLE001 - a forge that is down closes nothing
            self._log.warning("forge_not_asked", forge=preview.forge, reason=type(error).__name__)
            return True
        return answer is None or calls.is_open(answer)


def remove(daemon: Daemon, preview: Preview, *, gone: list[str], but: ReleaseId | None = None) -> bool:
    """Take the releases of a pull request (all, or all but one) off their hosts; False when one must be tried again.

    The commits of those that were taken off now are added to `gone`.
    """
    store, done = daemon.store, True
    for queued in store.queue.of_branch(preview.app, f"pull/{preview.number}", cause="pull_request"):
        ask = queued.ask
        if queued.state != "done":
            if but is not None:
                continue
            daemon.dispatcher.cancel(queued.id, who="deployd (the pull request was closed)")
            done = done and queued.state == "waiting"
            continue
        record = store.rollouts.find(queued.id)
        if record is None or record.release in {None, but} or queued.wish is None:
            continue
        if store.releases.get(record.release).state is ReleaseState.PRUNED:
            continue
        if not _discard(daemon, queued.wish, ask, record.release):
            done = False
        elif ask.commit is not None:
            gone.append(ask.commit)
    return done


def _discard(daemon: Daemon, wish: Mapping[str, Any], ask: Ask, release: Any) -> bool:
    from deployd.rollouts.wishes import wish_from_json

    hosts = wish_from_json(wish).hosts
    try:
        with daemon.workshop.pool_of(hosts) as pool:
            answers = pool.each(pool.names, lambda helper: helper.discard(ask.app, ask.environment, release))
    except DeploydError as error:
        logs.logger("previews").warning("preview_not_removed", release=release, code=error.code)
        return False
    if any(isinstance(answer, HostError) for answer in answers.values()):
        return False
    daemon.store.releases.set_state(release, ReleaseState.PRUNED)
    return True


def _is_old(preview: Preview) -> bool:
    keep = float(preview.pull.get("keep") or 14 * 86400)
    return datetime.now(UTC) - parse(preview.updated) > timedelta(seconds=keep)


def _make_room(store: Store, app: AppName, most: int) -> None:
    alive = [one for one in store.previews.all(app) if one.state in {"asked", "ready", "failed"}]
    for one in alive[most:]:  # the newest come first
        store.previews.change(app, one.number, state="closed")
