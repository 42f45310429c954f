"""One release to one host: a manifest and its objects come in, a `Shipped` goes out, and `current` is untouched.

A wire that breaks is tried again, from the beginning: what arrived is kept on the host, so it goes on where it was.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.events import Event, Report, quiet
from deployd.errors import CancelledError, HostError, HostKeyError, UnreachableError
from deployd.hosts.helper import pack
from deployd.stages.ship.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.domain.artifact import Manifest, Provenance, Runtime
    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
    from deployd.hosts.helper import Helper
    from deployd.hosts.pool import Pool
    from deployd.hosts.replies import Begun

RETRIES = 3
_UNCHANGED = "unchanged: nothing was flipped"
_PAUSE = 1.0  # doubled from one try to the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """A release that is sealed on a host. `sent` objects travelled, as `bytes_sent` on the wire."""

    host: HostName
    files: int
    linked: int
    sent: int
    bytes_sent: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Load:
    """What is to be shipped, the same in every try."""

    app: AppName
    environment: EnvironmentName
    release: ReleaseId
    packed: bytes
    provenance: Provenance
    runtime: Runtime | None
    objects: Path


def ship(
    pool: Pool,
    host: HostName,
    *,
    app: AppName,
    environment: EnvironmentName,
    release: ReleaseId,
    manifest: Manifest,
    provenance: Provenance,
    runtime: Runtime,
    artifacts: Path,
    packed: bytes | None = None,
    report: Report = quiet,
    cancel: threading.Event | None = None,
) -> Shipped:
    """Bring a release to a host and seal it there. Safe to repeat; raises HostError or CancelledError.

    A site without a process needs no runtime, so none goes with it.
    `packed` is `pack(manifest, runtime.name)`, for who ships to several hosts and wants to make it once.
    """
    load = _Load(
        app=app,
        environment=environment,
        release=release,
        packed=packed or pack(manifest, runtime.name),
        provenance=provenance,
        runtime=None if manifest.static else runtime,
        objects=artifacts / "objects",
    )
    cancel = cancel or threading.Event()
    broke = False
    for attempt in range(RETRIES + 1):
        try:
            return _once(pool, host, load, report=report, cancel=cancel)
        except UnreachableError as error:
            # Who never answered is not tried again here: nothing began, and the whole fleet would wait.
            broke = broke or error.code == "connection-lost"
            if not broke or attempt == RETRIES or isinstance(error, HostKeyError) or error.code == "ssh-auth-failed":
                raise error.but(live=_UNCHANGED) from error
            pause = _PAUSE * 2**attempt
            report(Event.WARNING, host=host, what=f"{error.what}; trying again in {pause:g} s", code=error.code)
            if cancel.wait(pause):
                raise _cancelled(host) from error
            pool.rewire(host)
    raise AssertionError


def _cancelled(host: HostName) -> CancelledError:
    return CancelledError(
        f"shipping to {host} was cancelled", host=host, live=_UNCHANGED, fix="release again: what arrived is kept"
    )


def _once(pool: Pool, host: HostName, load: _Load, *, report: Report, cancel: threading.Event) -> Shipped:
    started = time.monotonic()
    pool.wire(host).warm()  # its connection is made while the helper compares
    helper = pool.helper(host)
    sent = _runtime(pool, helper, load.runtime, report=report, cancel=cancel) if load.runtime else 0
    begun = helper.begin(load.app, load.environment, load.release, packed=load.packed)
    if begun.sealed:
        report(Event.HOST_COMPARED, host=host, missing=0, have=begun.have, bytes=0)
    else:
        report(Event.HOST_COMPARED, host=host, missing=len(begun.missing), have=begun.have, bytes=begun.bytes_missing)
        sent += _objects(pool, host, begun.missing, load=load, begun=begun, report=report, cancel=cancel)
    if cancel.is_set():
        raise _cancelled(host)
    sealed = helper.seal(load.app, load.environment, load.release, provenance=load.provenance)
    seconds = time.monotonic() - started
    report(
        Event.RELEASE_SEALED,
        host=host,
        release=load.release,
        files=sealed.files,
        linked=sealed.linked,
        bytes_sent=sent,
        seconds=round(seconds, 3),
    )
    return Shipped(
        host=host,
        files=sealed.files,
        linked=sealed.linked,
        sent=len(begun.missing),
        bytes_sent=sent,
        seconds=seconds,
    )


def _runtime(pool: Pool, helper: Helper, runtime: Runtime, *, report: Report, cancel: threading.Event) -> int:
    """Bring the runtime, when the host lacks it; returns the bytes sent."""
    begun = helper.runtime_begin(runtime.name)
    if begun.present or begun.incoming is None:
        return 0
    path = Path(runtime.path)
    progress = Progress(report, host=helper.name, what="runtime", total=runtime.size)
    sent = pool.wire(helper.name).send(
        [path.name], base=path.parent, to=begun.incoming, on_bytes=progress, cancel=cancel
    )
    progress.finish()
    helper.runtime_seal(runtime.name, sha256=runtime.sha256, size=runtime.size)
    return sent.bytes


def _objects(
    pool: Pool,
    host: HostName,
    missing: Sequence[str],
    *,
    load: _Load,
    begun: Begun,
    report: Report,
    cancel: threading.Event,
) -> int:
    """Send the objects that the host lacks; returns the bytes sent."""
    if not missing or begun.incoming is None:
        return 0
    names = [f"{sha256[:2]}/{sha256}" for sha256 in missing]
    lost = next((name for name in names if not (load.objects / name).is_file()), None)
    if lost:
        raise HostError(
            f"{host} lacks an object that is no longer on this machine either: {lost}",
            code="object-lost",
            host=host,
            live=begun.current or "nothing yet",
            fix="build again: `deployd release --no-cache` makes the artifact anew",
        )
    progress = Progress(report, host=host, what="objects", total=begun.bytes_missing)
    sent = pool.wire(host).send(names, base=load.objects, to=begun.incoming, on_bytes=progress, cancel=cancel)
    progress.finish()
    return sent.bytes
