"""A push in the queue comes in, the environments that it releases go out, or why it releases none.

Which branch or tag belongs to which environment is read from the repository's default branch: otherwise whoever may
push any branch could name it production's. Everything else is read from the commit that is released.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deployd import appfile
from deployd.daemon.hooks import filters
from deployd.domain import repository
from deployd.domain.options import APP_FILE
from deployd.domain.release import ReleaseState

if TYPE_CHECKING:
    from deployd.appfile import AppEnvironment, AppFile
    from deployd.domain.ask import Ask
    from deployd.domain.daemon import RegisteredApp
    from deployd.domain.release import Release
    from deployd.stages.source import History
    from deployd.store import Store

_LOOKED_AT = 50  # releases
_NEVER_CAME = frozenset({ReleaseState.NEW, ReleaseState.FAILED})


def places(ask: Ask, *, app: RegisteredApp, history: History, store: Store) -> tuple[tuple[Ask, ...], str]:
    """The ask once for each environment that it is for, with its commit; and the reason when there is none."""
    details = ask.details or {}
    tag = details.get("tag")
    below = f"{app.subdir}/" if app.subdir else ""
    history.look_ahead(None if tag else ask.branch, ask.commit, [app.file, f"{below}package.json"])
    if _is_elsewhere(ask, app=app) and not history.has(ask.commit or ""):
        return (), f"it was pushed to {details['repository']}, which is another repository"
    commit = history.tagged(tag) if tag else history.newest(ask.branch or "", ask.commit)
    if commit is None:
        return (), f"{tag or ask.branch} is gone by now"
    if filters.says_skip(history.message(commit)):
        return (), f"the message of {commit[:10]} says [skip deploy]"
    trusted = _file(history, history.default(), app, ask)
    if trusted is None:
        return (), f"the default branch has no {below}{APP_FILE} of an app {ask.app}"
    chosen = _matching(trusted, branch=ask.branch, tag=tag)
    if not chosen:
        what = f"tag {tag}" if tag else f"branch {ask.branch}"
        return (), f"no environment of {ask.app} is for {what} (by {APP_FILE} of the default branch)"
    file = _file(history, commit, app, ask)
    found, reasons = [], []
    for environment in chosen:
        place = replace(ask, environment=environment.name, commit=commit)
        here = file.environments.get(environment.name) if file else None
        if here is None:
            reason: str | None = f"{APP_FILE} of {commit[:10]} does not have it"
        else:
            reason = _being_released(place, store) or _unchanged(place, here, app=app, history=history, store=store)
        if reason is None:
            found.append(place)
        else:
            reasons.append(f"{environment.name}: {reason}")
    return tuple(found), "; ".join(reasons)


def _is_elsewhere(ask: Ask, *, app: RegisteredApp) -> bool:
    """Whether it is another repository's by its name: a webhook of a whole organisation tells of all of them. One that
    was renamed on the forge is known by its commits.
    """
    details = ask.details or {}
    return repository.is_another(app.repository, name=details.get("repository") or "", page=details.get("page"))


def _being_released(place: Ask, store: Store) -> str | None:
    wanted = (place.app, place.environment, place.commit)
    for other in (*store.queue.waiting(), *store.queue.running()):
        if (other.ask.app, other.ask.environment, other.ask.commit) == wanted:
            return f"{place.commit} is being released by {other.id}"
    return None


def _unchanged(place: Ask, here: AppEnvironment, *, app: RegisteredApp, history: History, store: Store) -> str | None:
    """Why a release would bring nothing new; compared with the newest release that came to its hosts, so that neither
    a lost push nor one whose release failed is missed.
    """
    known = store.releases.of(place.app, place.environment, limit=_LOOKED_AT)
    newest = known[0] if known else None
    if newest is not None and newest.commit is not None and newest.commit == place.commit and not newest.dirty:
        again = newest.state == ReleaseState.FAILED or _only_prepared(newest, store)
        return None if again else f"{newest.commit[:10]} was released already, as {newest.id}"
    came = next((one for one in known if one.state not in _NEVER_CAME), None)
    if came is None or came.commit is None or came.dirty:
        return None
    changed = _changed(place, came, history)
    if changed is None or (place.details or {}).get("tag"):
        return None
    if filters.concerns(changed, subdir=app.subdir, used=(), push=here.options.push):
        return None
    used = history.used_folders(place.commit or "", app.subdir)
    if filters.concerns(changed, subdir=app.subdir, used=used, push=here.options.push):
        return None
    return f"nothing of {app.subdir or 'the app'} changed since {came.id}"


def _only_prepared(newest: Release, store: Store) -> bool:
    """Whether somebody had it prepared, and nobody has it brought live or waits for a yes: then a push does."""
    if newest.state != ReleaseState.PREPARED:
        return False
    if any(one.release == newest.id for one in store.rollouts.unfinished(newest.app, newest.environment)):
        return False
    return all(one.release != newest.id for one in store.approvals.latest(newest.app, newest.environment))


def _changed(place: Ask, came: Release, history: History) -> tuple[str, ...] | None:
    found = history.changed(came.commit or "", place.commit or "")
    if found is None:  # what was released is no longer in the repository: only the payload can tell
        listed = (place.details or {}).get("files")
        return tuple(listed) if listed else None
    return found


def _matching(file: AppFile, *, branch: str | None, tag: Any) -> list[AppEnvironment]:
    if tag:
        return [one for one in file.environments.values() if filters.tag_matches(str(tag), one.options.push.tags)]
    return [one for one in file.environments.values() if one.branch is not None and one.branch == branch]


def _file(history: History, commit: str | None, app: RegisteredApp, ask: Ask) -> AppFile | None:
    text = history.file(commit, app.file) if commit else None
    if text is None or commit is None:
        return None
    file = appfile.parse(text, path=f"{app.file} of {commit[:10]}")
    return file if file.name == ask.app else None
