"""An ask becomes a wish: the mirror is fetched, `deployd.toml` of that very commit is read, hosts and options go out.

A rollback must never wait for a fetch: its hosts and options are those of the last rollout of its place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deployd import appfile
from deployd.daemon import previews
from deployd.daemon.hooks import placing
from deployd.domain.stages import SourceRequest
from deployd.errors import ConfigError, NotFoundError, UsageError
from deployd.rollouts.wishes import PromoteWish, ReleaseWish, RollbackWish, Wish, wish_from_json
from deployd.stages.source import History, fetch, peek

if TYPE_CHECKING:
    import threading

    from deployd.appfile import AppEnvironment, AppFile
    from deployd.daemon.fetching import Fetches
    from deployd.domain.ask import Ask
    from deployd.domain.daemon import RegisteredApp
    from deployd.paths import StatePaths
    from deployd.store import Store


def wish_of(
    ask: Ask,
    *,
    store: Store,
    paths: StatePaths,
    timeout: float | None,
    cancel: threading.Event,
    preview_domain: str | None = None,
) -> Wish:
    """The wish that an ask means at this moment. Raises the DeploydError that says why there is none.

    `preview_domain` is the daemon's, for pull requests of apps that have none of their own.
    """
    if ask.kind == "release":
        app = store.apps.get(ask.app)
        commit, file = read_file(app, ask, paths=paths, cancel=cancel)
        if ask.cause == "pull_request":
            history = History(fetch(app.repository, mirrors=paths.mirrors, cancel=cancel))
            trusted = previews.trusted_file(history, app)
            chosen = with_hosts(previews.chosen(ask, file, trusted, domain=preview_domain), file)
        else:
            chosen = with_hosts(file.environment(ask.environment), file)
        return ReleaseWish(
            app=ask.app,
            environment=ask.environment,
            source=SourceRequest(repository=app.repository, ref=commit, subdir=app.subdir, branch=_branch_of(ask)),
            hosts=chosen.hosts,
            options=chosen.options,
            activate=ask.activate,
            message=ask.message,
            timeout=timeout,
            confirm_within=ask.confirm_within,
            during_freeze=ask.during_freeze,
        )
    if ask.kind == "rollback":
        hosts_and_options = _as_before(ask, store, paths, cancel) or _as_registered(ask, store, paths, cancel)
        return RollbackWish(
            app=ask.app,
            environment=ask.environment,
            hosts=hosts_and_options.hosts,
            options=hosts_and_options.options,
            release=ask.release,
        )
    if ask.release is None:
        raise UsageError("a promote names the release that it promotes", fix="name a release of `deployd releases`")
    made_of = store.releases.get(ask.release).commit
    found = _as_registered(replace(ask, commit=made_of), store, paths, cancel) if store.apps.find(ask.app) else None
    before = found or _as_before(ask, store, paths, cancel)
    if before is None:
        raise _nothing_known(ask)
    return PromoteWish(
        app=ask.app,
        environment=ask.environment,
        release=ask.release,
        hosts=before.hosts,
        options=before.options,
        activate=ask.activate,
        message=ask.message,
        timeout=timeout,
        confirm_within=ask.confirm_within,
        during_freeze=ask.during_freeze,
    )


def _branch_of(ask: Ask) -> str | None:
    """The branch that was pushed, or `pull/12`; None of a tag, and where nobody said."""
    is_tag = bool((ask.details or {}).get("tag"))
    return ask.branch if ask.cause in {"push", "pull_request"} and not is_tag else None


def places_of(
    ask: Ask, *, store: Store, paths: StatePaths, cancel: threading.Event, fetches: Fetches, asked: float
) -> tuple[tuple[Ask, ...], str]:
    """A push whose environment is not known, once for each environment that it releases; and why there is none.

    `asked` is when it was first seen (`time.monotonic`).
    """
    app = store.apps.get(ask.app)
    history = History(fetches.get(app.repository, mirrors=paths.mirrors, asked=asked, cancel=cancel))
    if ask.cause == "pull_request":
        return previews.places(ask, app=app, history=history, store=store)
    return placing.places(ask, app=app, history=history, store=store)


def read_file(app: RegisteredApp, ask: Ask, *, paths: StatePaths, cancel: threading.Event) -> tuple[str, AppFile]:
    """The commit that an ask means, and the app's file in it."""
    ref = ask.ref or ask.branch or "HEAD"
    found = peek(app.repository, ref, app.file, mirrors=paths.mirrors, wanted=ask.commit, cancel=cancel)
    file = appfile.parse(found.text, path=f"{app.file} of {found.commit[:10]}")
    if file.name != ask.app:
        raise ConfigError(
            f"{file.path} is of app {file.name}, and {ask.app} is registered with that folder",
            code="app-name-differs",
            live="unchanged",
            fix=f"deployd app add {file.name} --repository {app.repository}, or correct `name`",
        )
    return found.commit, file


def with_hosts(chosen: AppEnvironment, file: AppFile) -> AppEnvironment:
    """The environment, if it has hosts; raises UsageError."""
    if not chosen.hosts:
        raise UsageError(
            f"environment {chosen.name} of {file.name} has no hosts",
            code="no-hosts",
            fix=f'add `hosts = ["web1"]` under [environments.{chosen.name}] in {file.path}',
        )
    return chosen


def _as_before(ask: Ask, store: Store, paths: StatePaths, cancel: threading.Event) -> Wish | AppEnvironment | None:
    latest = store.rollouts.latest(ask.app, ask.environment, limit=1)
    if latest and latest[0].kind == "adopt" and store.apps.find(ask.app):
        return _as_registered(ask, store, paths, cancel)  # what was adopted knows its hosts, and no options
    return wish_from_json(latest[0].wish) if latest else None


def _as_registered(ask: Ask, store: Store, paths: StatePaths, cancel: threading.Event) -> AppEnvironment:
    app = store.apps.find(ask.app)
    if app is None:
        raise _nothing_known(ask)
    _, file = read_file(app, ask, paths=paths, cancel=cancel)
    return with_hosts(file.environment(ask.environment), file)


def _nothing_known(ask: Ask) -> NotFoundError:
    return NotFoundError(
        f"the daemon knows no hosts of {ask.app} {ask.environment}: nothing was rolled out there yet",
        code="app-unknown",
        fix=f"deployd app add {ask.app} --repository URL, or release it from its checkout first",
    )
