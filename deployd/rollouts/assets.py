"""Hashed assets in the bucket of `assets`: a release's are there before it is flipped to, and go when no host has it.

Its keys come from the environment's own variables, else from the machine's settings, else from AWS's variables.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from deployd import settings
from deployd.domain.events import Event
from deployd.errors import ConfigError, DeploydError, HostError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.domain.artifact import Manifest
    from deployd.domain.events import Report
    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
    from deployd.domain.options import Assets
    from deployd.domain.release import Release
    from deployd.domain.secret import Secret
    from deployd.hosts.replies import AppStatus, Pruned
    from deployd.rollouts.rollout import Rollout
    from deployd.stages.package.assetbucket import AssetBucket
    from deployd.store import Store

KEYS = ("DEPLOYD_ASSETS_ACCESS_KEY_ID", "DEPLOYD_ASSETS_SECRET_ACCESS_KEY")


class Sending:
    """Brings a release's assets into the bucket while hosts get the release; `wait` raises what went wrong."""

    def __init__(self, rollout: Rollout, release: ReleaseId, manifest: Manifest) -> None:
        self._rollout, self._release, self._manifest = rollout, release, manifest
        self._error: DeploydError | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if rollout.options.assets.bucket and manifest.assets:
            keys = keys_of(rollout.store, rollout.app, rollout.environment)
            rollout.recorder.hide(keys or ())
            self._bucket = _bucket(rollout.options.assets, keys)
            self._thread = threading.Thread(target=self._send, daemon=True, name="assets")
            self._thread.start()

    def wait(self) -> None:
        """Until they are there. Raises StorageError, CancelledError."""
        if self._thread:
            self._thread.join()
        if self._error:
            raise self._error

    def end(self) -> None:
        """Send no more, because the release failed elsewhere."""
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _send(self) -> None:
        rollout = self._rollout
        try:
            sent = self._bucket.send(
                self._manifest,
                app=rollout.app,
                environment=rollout.environment,
                release=self._release,
                artifacts=rollout.paths.artifacts,
                stopped=lambda: self._stop.is_set() or rollout.stop.is_set(),
            )
        except DeploydError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - a thread's own failure must fail the release too
            self._error = StorageError(
                f"the assets could not be sent: {type(error).__name__}: {error}",
                code="assets-failed",
                live="unchanged",
                fix="this is a bug: report it",
            )
        else:
            rollout.report(
                Event.ASSETS_SENT,
                bucket=self._bucket.name,
                files=sent.files,
                sent=sent.sent,
                bytes_sent=sent.bytes_sent,
            )


def check(rollout: Rollout) -> None:
    """Ask the bucket before anything is built for it. Raises StorageError, ConfigError."""
    if rollout.options.assets.bucket:
        keys = keys_of(rollout.store, rollout.app, rollout.environment)
        rollout.recorder.hide(keys or ())
        _bucket(rollout.options.assets, keys).check()


def keys_of(store: Store, app: AppName, environment: EnvironmentName) -> tuple[Secret, Secret] | None:
    """The access key's id and its secret; None leaves both to AWS's own variables. Raises ConfigError for one alone."""
    variables = store.variables.reveal(app, environment)
    found = tuple(variables.get(name) for name in KEYS)
    if not any(found):
        found = settings.asset_keys()
    first, second = found
    if first and second:
        return first, second
    if first or second:
        raise ConfigError(
            f"{KEYS[0]} and {KEYS[1]} belong together, and one of them is missing",
            code="assets-keys-missing",
            live="unchanged",
            fix=f"deployd env set {' '.join(KEYS)}",
        )
    return None


def prune(
    store: Store,
    app: AppName,
    environment: EnvironmentName,
    *,
    assets: Assets,
    found: Mapping[HostName, AppStatus | HostError],
    pruned: Mapping[HostName, Pruned | HostError],
    report: Report,
) -> None:
    """Remove from the bucket what no release needs that a host still has. A failure is a warning.

    A host that did not say what it has may have any of them, so then nothing is removed.
    """
    if not assets.bucket or any(isinstance(one, HostError) for one in (*found.values(), *pruned.values())):
        return
    kept: set[ReleaseId] = set()
    for name, status in found.items():
        if isinstance(status, HostError):
            return
        done = pruned.get(name)
        removed = set() if done is None or isinstance(done, HostError) else set(done.removed)
        kept |= {one.id for one in status.releases if one.id not in removed}
    try:
        bucket = _bucket(assets, keys_of(store, app, environment))
        removed_files = bucket.prune(app=app, environment=environment, kept=kept)
    except DeploydError as error:
        report(Event.WARNING, what=f"old assets were not removed: {error.what}", code=error.code, fix=error.fix)
        return
    if removed_files:
        report(Event.ASSETS_PRUNED, bucket=bucket.name, removed=removed_files)


def refuse_elsewhere(rollout: Rollout, origin: Release) -> None:
    """Refuse a release whose pages ask another environment's bucket: there it goes when that environment drops it.

    Raises ConfigError.
    """
    from deployd.domain.options import Options
    from deployd.rollouts import kept

    theirs = kept.options_of(rollout.store, origin.id, otherwise=replace(Options(), assets=rollout.options.assets))
    if theirs.assets.url and theirs.assets != rollout.options.assets:
        raise ConfigError(
            f"the pages of {origin.id} ask for their files at {theirs.assets.url}, which is {origin.environment}'s",
            code="assets-elsewhere",
            live="unchanged",
            fix=f"give both environments the same `assets`, or release that commit here: deployd release COMMIT"
            f" -e {rollout.environment}",
        )


def _bucket(assets: Assets, keys: tuple[Secret, Secret] | None) -> AssetBucket:
    from deployd.stages.package.assetbucket import AssetBucket

    return AssetBucket(assets, keys=keys)
