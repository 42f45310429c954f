"""What an app asks of deployd, as frozen values. `appfile.py` reads them from `deployd.toml`. Times are seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

APP_FILE = "deployd.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """How to build. `command` None means what the framework's own is; `node` None means the version in the source."""

    command: str | None = None
    install: str | None = None
    node: str | None = None
    timeout: float = 1200.0
    memory: int | None = None
    cpus: float | None = None
    framework: str | None = None
    output: str | None = None
    entry: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What is traced. `root` (relative to the repository) is the tracing root; `include` and `exclude` are pairs of a
    route glob and the file globs that it adds or takes away, relative to the app's folder. `error_pages` is a folder
    there with the pages that the web server gives when the app cannot answer.
    """

    root: str | None = None
    include: tuple[tuple[str, tuple[str, ...]], ...] = ()
    exclude: tuple[tuple[str, tuple[str, ...]], ...] = ()
    error_pages: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """How the artifact is tried alone before it is shipped; `paths` are asked besides the routes that are known."""

    mode: Literal["strict", "warn", "off"] = "strict"
    paths: tuple[str, ...] = ()
    timeout: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What travels beside what the server needs."""

    source_maps: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """When a started release counts as healthy: `successes` answers in a row with a status in `status`."""

    path: str = "/"
    status: tuple[int, ...] = (200, 204, 301, 302, 303, 304, 307, 308)
    timeout: float = 30.0
    interval: float = 0.25
    successes: int = 2
    request_timeout: float = 5.0
    warm: tuple[str, ...] = ()
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waves:
    """In which order hosts are flipped. `batch` is hosts a wave; `pause` is the wait between waves.

    `before` is a command line that runs once on the first host before the release starts anywhere, for at most
    `before_timeout` seconds; None runs nothing. `bake` is for how long the traffic of all hosts is watched after the
    last flip; 0 watches nothing.
    """

    strategy: Literal["all", "batch", "canary"] = "all"
    batch: int = 1
    pause: float = 5.0
    before: str | None = None
    before_timeout: float = 600.0
    bake: float = 0.0
    drain_wait: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How the server process runs on a host. `drain` is how long an old process may finish what it has.

    `warm` is how long the release before stays started, so that going back needs no start-up; 0 stops it at once.
    `body_limit` is the largest request body in bytes that the web server lets through. `trusted_proxies` are the
    networks of what stands before the hosts (CIDR): what these say of a visitor is believed.

    `domains` are answered by the app, `redirects` are pairs of a name and the name that it leads to. `tls` is how their
    certificate is had: a word, a pair of a certificate's and a key's file, or None for what the names ask for
    (sites.py); `hsts` is seconds. `shared` says that several hosts answer for the names.

    Below `preview_domain` each release has an address of its own; `preview_password` is the bcrypt hash of the password
    that it asks for.

    `cache` is the Redis that the hosts share: `redis://HOST:PORT/0`, or `env:NAME` for the variable that holds it.
    """

    instances: int | Literal["cores"] = 1
    memory: int | None = None
    drain: float = 30.0
    warm: float = 600.0
    body_limit: int | None = None
    trusted_proxies: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    port: int = 80
    redirects: tuple[tuple[str, str], ...] = ()
    tls: Literal["acme", "internal", "off"] | tuple[str, str] | None = None
    hsts: float | None = None
    acme_email: str | None = None
    acme_directory: str | None = None
    acme_ca_root: str | None = None
    shared: bool = False
    preview_domain: str | None = None
    preview_password: str | None = None
    cache: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How many releases stay on a host: `releases` that were live (the current one too), `failed` that never were.

    What was live less than `skew_protection` seconds ago stays too, however many there are: its pages are still open.
    """

    releases: int = 5
    failed: int = 2
    skew_protection: float = 43_200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Whether a release waits for a person once it is prepared: for anybody, or for another than who asked for it."""

    mode: Literal["off", "any", "other"] = "off"
    timeout: float = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Which pushes start a release, besides those of the environment's branch that change the app.

    `tags` are globs of tags that do too; `paths` are globs of files outside of the app's folder that count as its own,
    and `ignore` of files that never count; both relative to the repository.
    """

    tags: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Previews:
    """Pull requests' previews, in the environment `preview`: removed `keep` after the last commit, `most` at a time."""

    keep: float = 14 * 86400.0
    most: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """The S3-compatible bucket to which hashed assets go, below `prefix`; without `bucket`, none.

    `endpoint` is its address where that is not Amazon's. `url` is where browsers find what is below the prefix.
    """

    bucket: str | None = None
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All of one app's options in one environment."""

    build: Build = Build()
    probe: Probe = Probe()
    waves: Waves = Waves()
    run: Run = Run()
    keep: Keep = Keep()
    trace: Trace = Trace()
    verify: Verify = Verify()
    package: Package = Package()
    approval: Approval = Approval()
    push: Push = Push()
    previews: Previews = Previews()
    assets: Assets = Assets()
