"""One host's helper as typed calls: values come in, a verb runs on the host, a frozen value or a HostError comes back.

Every error names the host, what is live there as far as is known, and what to do. Any call may be repeated.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from deployd.domain import counted
from deployd.errors import ConfigError, HostError
from deployd.hosts import replies, verbs
from deployd.hosts.asking import LONG, QUICK
from deployd.hosts.streaming import Streaming

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from deployd.domain.artifact import Manifest, Provenance
    from deployd.domain.host import Facts
    from deployd.domain.ids import AppName, EnvironmentName, ReleaseId, RuntimeName
    from deployd.domain.options import Probe, Run
    from deployd.domain.secret import Secret
    from deployd.domain.traffic import HostTraffic


PROTOCOL = 1
# Below this the time to send it is less than that of a helper started anew, which takes gzip.
_PLAIN = 500_000


def pack(manifest: Manifest, runtime: RuntimeName) -> bytes:
    """The stdin of `begin`, made once for every host of a fleet. A large one is gzip."""
    text = json.dumps({"manifest": manifest.to_json(), "runtime": runtime}, separators=(",", ":")).encode()
    return text if len(text) < _PLAIN else gzip.compress(text, compresslevel=1, mtime=0)


class Helper(Streaming):
    """The helper of one host. Threads may share it."""

    # the host itself

    def facts(self) -> Facts:
        """What the host is. Raises `helper-old` when its helper speaks another version."""
        found = self._ask(verbs.facts(), parse=replies.facts)
        if found.helper != PROTOCOL:
            raise HostError(
                f"{self.name} has a helper of version {found.helper}, and this deployd speaks version {PROTOCOL}",
                code="helper-old",
                host=self.name,
                live="unchanged",
                fix=f"run `deployd host bootstrap {self.name}` with this deployd",
            )
        return found

    def runtime_begin(self, runtime: RuntimeName) -> replies.RuntimeBegun:
        """Whether a runtime is there; makes its incoming folder if not."""
        return self._ask(verbs.runtime_begin(runtime), parse=replies.RuntimeBegun.from_json)

    def runtime_seal(self, runtime: RuntimeName, *, sha256: str, size: int) -> bool:
        """Check and install the runtime that arrived."""
        document = {"sha256": sha256, "size": size}
        return self._ask(verbs.runtime_seal(runtime), document, timeout=LONG, parse=lambda data: bool(data["sealed"]))

    # an app's lock and configuration

    def holder(self, app: AppName, environment: EnvironmentName) -> replies.Holder:
        """Who has the app's lock."""
        return self._ask(verbs.holder(app, environment), parse=replies.Holder.from_json)

    def unlock(self, app: AppName, environment: EnvironmentName) -> None:
        """End whoever has the app's lock: what he may still send is refused."""
        self._ask(verbs.unlock(app, environment), parse=_nothing)

    def configure(
        self, app: AppName, environment: EnvironmentName, *, run: Run, check: bool = False
    ) -> tuple[str, ...]:
        """Make units and site; returns what changed, or with `check` what would: `units`, `site`."""
        argv = verbs.configure(app, environment, check=check)
        document = verbs.run_document(run, ca_root=_ca_root(run))
        return self._ask(argv, document, parse=lambda data: tuple(data["changed"]))

    def certificate(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        chain: str,
        key: Secret,
        names: Sequence[str],
        since: float,
        until: float,
    ) -> bool:
        """Keep a certificate (PEM, good for `names` between two epoch seconds) and serve it; False if it was there."""
        document = {"chain": chain, "key": key.reveal(), "names": list(names), "since": since, "until": until}
        return self._ask(
            verbs.certificate(app, environment), document, parse=lambda data: "certificate" in data["changed"]
        )

    def answer(self, token: str, text: str | None) -> None:
        """Answer an authority that asks for `token` over http with `text`; None: no longer."""
        self._ask(verbs.answer(token), {"text": text} if text else {}, parse=_nothing)

    def served(self, app: AppName, environment: EnvironmentName) -> tuple[replies.ServedName, ...]:
        """What the web server shows for each of the app's names."""
        return self._ask(
            verbs.served(app, environment),
            parse=lambda data: tuple(replies.ServedName.from_json(one) for one in data["names"]),
        )

    # a release: ship, start, flip

    def begin(self, app: AppName, environment: EnvironmentName, release: ReleaseId, *, packed: bytes) -> replies.Begun:
        """Compare a release with what the host has; `packed` is from `pack`."""
        begun = self._ask(verbs.begin(app, environment, release), packed, timeout=LONG, parse=replies.Begun.from_json)
        self._saw(app, environment, begun.current)
        return begun

    def seal(
        self, app: AppName, environment: EnvironmentName, release: ReleaseId, *, provenance: Provenance
    ) -> replies.Sealed:
        """Have the host verify what arrived and lay the release out."""
        document = {"provenance": {name: getattr(provenance, name) for name in provenance.__dataclass_fields__}}
        return self._ask(verbs.seal(app, environment, release), document, timeout=LONG, parse=replies.Sealed.from_json)

    def env(
        self, app: AppName, environment: EnvironmentName, release: ReleaseId, *, variables: Mapping[str, Secret]
    ) -> None:
        """Write the release's variables. They go by stdin only."""
        document = {"variables": {key: value.reveal() for key, value in variables.items()}}
        self._ask(verbs.env(app, environment, release), document, parse=_nothing)

    def start(self, app: AppName, environment: EnvironmentName, release: ReleaseId) -> None:
        """Start the release's socket and instances."""
        self._ask(verbs.start(app, environment, release), timeout=QUICK * 2, parse=_nothing)

    def probe(
        self,
        app: AppName,
        environment: EnvironmentName,
        release: ReleaseId,
        *,
        probe: Probe,
        cancel: threading.Event | None = None,
    ) -> replies.Probed:
        """Ask the release by its own socket until it is healthy. Raises ProbeError."""
        return self._probe(verbs.probe(app, environment, release), probe, cancel)

    def probe_web(
        self,
        app: AppName,
        environment: EnvironmentName,
        release: ReleaseId,
        *,
        probe: Probe,
        cancel: threading.Event | None = None,
    ) -> replies.Probed:
        """Ask for the release through the host's web server. Raises ProbeError."""
        return self._probe(verbs.probe_web(app, environment, release), probe, cancel)

    def _probe(self, argv: verbs.Argv, probe: Probe, cancel: threading.Event | None) -> replies.Probed:
        wait = probe.timeout + probe.request_timeout * (2 + 4 * len(probe.warm)) + len(probe.warm) + QUICK
        return self._ask(argv, verbs.probe_document(probe), timeout=wait, cancel=cancel, parse=replies.Probed.from_json)

    def flip(
        self,
        app: AppName,
        environment: EnvironmentName,
        release: ReleaseId,
        *,
        expect: ReleaseId | None,
        epoch: int,
    ) -> replies.Flipped:
        """Make the release current. Refused when another is current than `expect`, or a newer rollout holds the app."""
        return self._flip(app, environment, verbs.flip(app, environment, release, expect=expect, epoch=epoch))

    def unflip(
        self, app: AppName, environment: EnvironmentName, *, to: ReleaseId | None, epoch: int
    ) -> replies.Flipped:
        """Make an earlier release current again."""
        return self._flip(app, environment, verbs.unflip(app, environment, to=to, epoch=epoch))

    def _flip(self, app: AppName, environment: EnvironmentName, argv: verbs.Argv) -> replies.Flipped:
        flipped = self._ask(argv, parse=lambda data: replies.Flipped.from_json(data, host=self.name))
        self._saw(app, environment, flipped.current)
        return flipped

    def stop(self, app: AppName, environment: EnvironmentName, release: ReleaseId, *, after: float = 0) -> None:
        """Let a release's instances finish what they have and stop, without waiting; `after` seconds from now."""
        self._ask(verbs.stop(app, environment, release, after=after), parse=_nothing)

    def restart(self, app: AppName, environment: EnvironmentName) -> None:
        """Restart the current release's instances, one at a time."""
        self._ask(verbs.restart(app, environment), timeout=LONG, parse=_nothing)

    def maintenance(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        on: bool,
        allow: Sequence[str] = (),
        page: str | None = None,
    ) -> bool:
        """Turn visitors away but for some addresses, with a page of one's own, or let them in; False: it was so."""
        document = {"on": on, "allow": list(allow), "page": page} if on else {"on": False}
        return self._ask(verbs.maintenance(app, environment), document, parse=lambda data: bool(data["changed"]))

    def drain(
        self,
        *,
        on: bool | None,
        place: tuple[AppName, EnvironmentName] | None = None,
        by: Literal["operator", "rollout"] = "operator",
    ) -> replies.Drained:
        """Tell load balancers to leave the host alone, or one app of it, or to come again; None: only look."""
        document: dict[str, object] = {"on": on, "by": by}
        if place is not None:
            document |= {"app": place[0], "environment": place[1]}
        return self._ask(verbs.drain(), document, parse=replies.Drained.from_json)

    def canary(
        self, app: AppName, environment: EnvironmentName, *, release: ReleaseId | None, percent: float = 0
    ) -> ReleaseId | None:
        """Give so many of a hundred visitors a release that is started, or (None) all of them the current one.

        Returns the release that some of them had before.
        """
        document = {"release": release, "percent": percent}
        argv = verbs.canary(app, environment)
        return self._ask(
            argv, document, parse=lambda data: replies.release_or_none((data.get("was") or {}).get("release"))
        )

    def share(self, app: AppName, environment: EnvironmentName, *, label: str, key: str, seconds: float) -> None:
        """Have a key open one preview address for a time."""
        document = {"label": label, "key": key, "seconds": int(seconds)}
        self._ask(verbs.share(app, environment), document, parse=_nothing)

    # what is there

    def status(self, app: AppName, environment: EnvironmentName) -> replies.AppStatus:
        """What is live, and what is kept."""
        status = self._ask(verbs.status(app, environment), parse=replies.AppStatus.from_json)
        self._saw(app, environment, status.current)
        return status

    def traffic(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        since: str | float,
        until: float | None = None,
        step: int = 60,
        skip_first: bool = False,
    ) -> HostTraffic:
        """What visitors asked for between two moments, by the host's own clock, counted there."""
        argv = verbs.traffic(app, environment, since=since, until=until, step=step, skip_first=skip_first)
        return self._ask(argv, parse=lambda data: counted.from_json(data, host=self.name))

    def prune(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        keep: Sequence[ReleaseId],
        protect: Sequence[ReleaseId] = (),
    ) -> replies.Pruned:
        """Remove every release that is not in `keep` or `protect`, current, or in use."""
        document = {"keep": list(keep), "protect": list(protect)}
        return self._ask(verbs.prune(app, environment), document, timeout=LONG, parse=replies.Pruned.from_json)

    def discard(self, app: AppName, environment: EnvironmentName, release: ReleaseId) -> bool:
        """Remove one release that never was live, and what arrived of it; False when it was not there."""
        argv = verbs.discard(app, environment, release)
        return self._ask(argv, timeout=LONG, parse=lambda data: bool(data.get("discarded", True)))

    def remove_app(self, app: AppName, environment: EnvironmentName) -> int:
        """Take the app in this environment off the host; returns the bytes set free."""
        argv = verbs.remove_app(app, environment)
        return self._ask(argv, timeout=LONG, parse=lambda data: int(data.get("freed_bytes") or 0))


def _ca_root(run: Run) -> str | None:
    """The authority's own certificate, from this machine's file. Raises ConfigError `file-unreadable`."""
    if not run.acme_ca_root:
        return None
    try:
        return Path(run.acme_ca_root).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{run.acme_ca_root} (acme_ca_root) cannot be read: {getattr(error, 'strerror', None) or error}",
            code="file-unreadable",
            fix="name a PEM file on the machine that runs deployd",
        ) from error


def _nothing(_data: Mapping[str, Any]) -> None:
    return None
