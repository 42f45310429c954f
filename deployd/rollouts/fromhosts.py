"""An artifact that this machine lacks comes in; it is fetched back from a host that has a release of it.

After a lost control machine (`adopt`), or with several daemons and no store that they share, hosts are the only ones
that have what was built. Every content is compared with its hash, and all of them with the artifact's name, before it
is kept: a host's word is not enough to bring its files to others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.domain.artifact import FileEntry, Manifest
from deployd.domain.events import Event
from deployd.errors import DeploydError, HostError, NotFoundError, PackageError
from deployd.hosts import givenback
from deployd.rollouts.wishes import wish_from_json
from deployd.stages.package import artifacts as kept
from deployd.stages.package import objects

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from deployd.domain.events import Report
    from deployd.domain.ids import ArtifactName, HostName
    from deployd.domain.release import Release
    from deployd.hosts.helper import Helper
    from deployd.hosts.pool import Pool
    from deployd.store import Store

_RELEASES = 10  # releases of one artifact that are looked for, the newest first


def fetch(
    store: Store,
    name: ArtifactName,
    *,
    artifacts: Path,
    pool_of: Callable[[Sequence[HostName]], Pool],
    report: Report,
) -> Manifest:
    """Bring it here from the first host that gives it whole; raises NotFoundError that says what each host said."""
    said = []
    for release, host in _places(store, name):
        try:
            with pool_of([host]) as pool:
                manifest = _from(pool.helper(host), release, name, artifacts=artifacts)
        except (HostError, PackageError, NotFoundError) as error:
            said.append(f"{host}, {release.id}: {error.what}")
            continue
        made = kept.write(manifest, artifacts=artifacts)
        report(Event.ARTIFACT_FETCHED, artifact=name, files=made.files, size=made.size, host=host)
        return manifest
    raise NotFoundError(
        f"the artifact {name} is not here, and no host could give it back",
        code="artifact-missing",
        details="\n".join(said) or "no host is known to have a release of it",
        fix="build it again: deployd release --no-cache",
    )


def _places(store: Store, name: ArtifactName) -> Iterator[tuple[Release, HostName]]:
    """Releases of the artifact, and the hosts to which they were brought; those that may still have it first."""
    known = {host.name for host in store.hosts.all()}
    for release in store.releases.of_artifact(name, limit=_RELEASES):
        places = [*store.rollouts.bringing(release.id), *store.rollouts.latest(release.app, release.environment)]
        tried: set[HostName] = set()
        for record in places:
            for host in _hosts(record.wish):
                if host in known and host not in tried:
                    tried.add(host)
                    yield release, host


def _hosts(wish: object) -> tuple[HostName, ...]:
    try:
        return wish_from_json(wish).hosts  # type: ignore[arg-type]  # what an older version kept may be something else
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()


def _from(helper: Helper, release: Release, name: ArtifactName, *, artifacts: Path) -> Manifest:
    where = (release.app, release.environment, release.id)
    try:
        manifest = Manifest.from_json(givenback.manifest(helper.transport, *where))
    except (KeyError, TypeError, ValueError) as error:
        raise _other(helper, name) from error
    if manifest.name != name:
        raise _other(helper, name)
    contents = {one.sha256: one for one in manifest.files if isinstance(one, FileEntry)}
    missing = [one for one in contents.values() if not objects.has(artifacts, one.sha256, size=one.size)]

    def keep(entry: FileEntry, content: io.RawIOBase) -> None:
        try:
            objects.store_stream(content, sha256=entry.sha256, artifacts=artifacts)  # type: ignore[arg-type]  # it reads
        except PackageError as error:
            raise _other(helper, name) from error

    if missing:
        givenback.contents(helper.transport, *where, missing, take=keep)
    return manifest


def _other(helper: Helper, name: ArtifactName) -> DeploydError:
    return HostError(
        f"what {helper.name} gives is not the artifact {name}",
        code="artifact-differs",
        host=helper.name,
        live="unchanged",
        fix=f"nothing of it was kept; look at that host: deployd host check {helper.name}",
    )
