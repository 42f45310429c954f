"""Every key of `deployd.toml`, declared once: place, kind, meaning, example. Defaults are domain/options.py's.

From this table come the checks of appfile.py, the annotated files in etc/, docs/reference/app.md and `deployd docs`.
No pydantic: it takes 0.2 s to import and `deployd status` reads this file (measured; see ARCHITECTURE.md).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from deployd.appkinds import (
    APPROVAL,
    BCRYPT,
    BUCKET,
    BUCKET_PREFIX,
    CACHE,
    COUNT,
    COUNT_OR_NONE,
    DOMAIN,
    DOMAINS,
    DURATION,
    EMAIL,
    ENDPOINT,
    FLAG,
    GLOBS,
    HOST_HEADER,
    HOSTS,
    HSTS,
    HTTPS_URL,
    INSTANCES,
    NETWORKS,
    NUMBER,
    PATTERNS,
    PORT,
    PROBE_PATH,
    PROBE_PATHS,
    REF,
    RELATIVE,
    SIZE,
    STATUSES,
    SUCCESSES,
    TEXT,
    TLS,
    URL_PATHS,
    WEB_URL,
    Kind,
    by_kind,
    choice,
    duration,
)
from deployd.domain import options

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key. `field` is the attribute of the section's options; `example` is TOML.

    A key whose value is in several attributes has `fields_of`, from its value to these, and `value_of`, back.
    """

    name: str
    kind: Kind
    help: str
    example: str
    field: str = ""
    fields_of: Callable[[Any], dict[str, Any]] | None = None
    value_of: Callable[[Any], Any] | None = None

    def fields(self, value: Any) -> dict[str, Any]:
        """The attributes that this value of the key sets."""
        return self.fields_of(value) if self.fields_of else {self.field or self.name: value}

    def value(self, part: Any) -> Any:
        """The key's value in the section's options."""
        return self.value_of(part) if self.value_of else getattr(part, self.field or self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One table of `deployd.toml`, and the options that it fills."""

    name: str
    type: type
    part: str
    help: str
    keys: tuple[Key, ...]

    def default(self, key: Key) -> Any:
        """The key's default, as domain/options.py has it."""
        return {field.name: field.default for field in fields(self.type)}[key.field or key.name]


BUILD = Section(
    name="build",
    type=options.Build,
    part="build",
    help="How the app is built, on the machine that runs deployd.",
    keys=(
        Key(
            name="command",
            kind=TEXT,
            example='"npm run build"',
            help="What builds the app. Without it: the framework's own.",
        ),
        Key(
            name="install",
            kind=TEXT,
            example='"npm ci"',
            help="What installs the packages. Without it: the package manager's, from the lock file only.",
        ),
        Key(
            name="node",
            kind=TEXT,
            example='"22"',
            help="The Node.js version. Without it: what .nvmrc, .node-version or package.json's engines ask for.",
        ),
        Key(name="timeout", kind=DURATION, example='"20m"', help="How long install and build may take, each."),
        Key(
            name="memory",
            kind=SIZE,
            example='"4G"',
            help="The build's memory limit. Without it: 80 % of the machine's.",
        ),
        Key(name="cpus", kind=NUMBER, example="2.0", help="How many processors the build may use. Without it: all."),
        Key(
            name="framework",
            kind=choice("nextjs", "nuxt", "astro", "sveltekit", "react-router", "node", "static"),
            example='"node"',
            help="What the app is made with. Without it: what package.json and the configuration files say.",
        ),
        Key(
            name="output",
            kind=RELATIVE,
            example='"dist"',
            help="The folder that the build writes, in the app's folder. Without it: the framework's own.",
        ),
        Key(
            name="entry",
            kind=RELATIVE,
            example='"dist/main.js"',
            help="The file that Node.js runs, in the app's folder. Without it: the start script's, or the framework's.",
        ),
    ),
)
TRACE = Section(
    name="trace",
    type=options.Trace,
    part="trace",
    help="Which files the server needs besides those that tracing finds.",
    keys=(
        Key(
            name="root",
            kind=RELATIVE,
            example='"."',
            help="The folder that traced files are taken from, in the repository. Without it: the workspace's root.",
        ),
        Key(
            name="include",
            kind=GLOBS,
            example='{ "/api/*" = ["data/**"] }',
            help="Files to add, by the routes that need them; globs from the app's folder; `/*` is every route.",
        ),
        Key(
            name="exclude",
            kind=GLOBS,
            example='{ "/*" = ["fixtures/**"] }',
            help="Files to leave out, by route, though tracing finds them.",
        ),
        Key(
            name="error_pages",
            kind=RELATIVE,
            example='"error-pages"',
            help="A folder with 502.html, 503.html, error.html and the like: what visitors get when the app cannot "
            'answer. Short at the top of the file: `error_pages = "error-pages"`.',
        ),
    ),
)
VERIFY = Section(
    name="verify",
    type=options.Verify,
    part="verify",
    help="Before anything travels, the artifact runs alone, without the checkout and without a network. "
    '`verify = "warn"` at the top of the file is short for its mode.',
    keys=(
        Key(
            name="mode",
            kind=choice("strict", "warn", "off"),
            example='"warn"',
            help="strict: a missing module or file stops the release. warn: it is told. off: nothing is tried.",
        ),
        Key(name="paths", kind=URL_PATHS, example='["/api/report"]', help="Paths to ask for besides the known routes."),
        Key(name="timeout", kind=DURATION, example='"60s"', help="How long all of it may take."),
    ),
)
PACKAGE = Section(
    name="package",
    type=options.Package,
    part="package",
    help="What travels beside what the server needs.",
    keys=(
        Key(name="source_maps", kind=FLAG, example="true", help="Whether source maps travel with the server's files."),
    ),
)
PROBE = Section(
    name="probe",
    type=options.Probe,
    part="probe",
    help="When a started release counts as healthy: asked by its socket before the flip, by the web server after it.",
    keys=(
        Key(name="path", kind=PROBE_PATH, example='"/health"', help="What is asked for."),
        Key(name="status", kind=STATUSES, example="[200]", help="The statuses that count as healthy."),
        Key(
            name="timeout",
            kind=duration(0.1, 3600),
            example='"30s"',
            help="How long a release may take to become healthy.",
        ),
        Key(name="interval", kind=duration(0, 60), example='"250ms"', help="The wait between two questions."),
        Key(name="successes", kind=SUCCESSES, example="2", help="How many healthy answers in a row are needed."),
        Key(name="request_timeout", kind=duration(0.01, 600), example='"5s"', help="How long one answer may take."),
        Key(
            name="warm",
            kind=PROBE_PATHS,
            example='["/", "/products"]',
            help="Pages to ask for before the flip, each up to 50 times in 1 s: the first visitor finds them warm.",
        ),
        Key(
            name="host",
            kind=HOST_HEADER,
            example='"shop.example"',
            help="The Host header of the questions. Without it: the first domain.",
        ),
    ),
)
ROLLOUT = Section(
    name="rollout",
    type=options.Waves,
    part="waves",
    help="What happens once before a release starts, and in which order the hosts are flipped when all are prepared.",
    keys=(
        Key(
            name="strategy",
            kind=choice("all", "batch", "canary"),
            example='"canary"',
            help="all: every host at once. batch: `batch` hosts at a time. canary: one host first, then the rest.",
        ),
        Key(name="batch", kind=COUNT, example="2", help="Hosts in one wave, with batch."),
        Key(
            name="pause",
            kind=DURATION,
            example='"30s"',
            help="The wait between waves; a wave that turns unhealthy flips all back.",
        ),
        Key(
            name="drain_wait",
            kind=DURATION,
            example='"10s"',
            help="With batch or canary: how long a load balancer takes to notice `/.deployd/health`. Each wave's hosts "
            "answer 503 there for so long, and until open requests are done, before they are flipped. 0s: they are not "
            "taken out.",
        ),
        Key(
            name="before",
            kind=TEXT,
            example='"prisma migrate deploy"',
            help="What runs once, on the first host, before the new release starts anywhere; "
            "if it fails, what is live stays live.",
        ),
        Key(name="before_timeout", kind=DURATION, example='"10m"', help="How long that may take."),
        Key(
            name="bake",
            kind=DURATION,
            example='"5m"',
            help="How long visitors' errors and times are compared with those of the release before; when they are "
            "clearly worse, it goes back by itself. With waves the first one is watched before the next goes. "
            'Short at the top of the file: `bake = "5m"`.',
        ),
    ),
)
RUN = Section(
    name="run",
    type=options.Run,
    part="run",
    help="How the server runs on each host.",
    keys=(
        Key(
            name="instances",
            kind=INSTANCES,
            example='"cores"',
            help="Server processes on each host; they share one socket.",
        ),
        Key(name="memory", kind=SIZE, example='"1G"', help="The memory limit of one process. Without it: none."),
        Key(
            name="warm",
            kind=DURATION,
            example='"10m"',
            help="How long the release before stays started: going back then needs no start-up. 0s stops it at once.",
        ),
        Key(
            name="drain",
            kind=DURATION,
            example='"30s"',
            help="How long an old process may finish what it has, after the flip.",
        ),
        Key(
            name="body_limit",
            kind=SIZE,
            example='"10M"',
            help="The largest request body that reaches the app; a larger one gets 413. Without it: none.",
        ),
    ),
)
KEEP = Section(
    name="keep",
    type=options.Keep,
    part="keep",
    help="How many releases stay on each host. What is current, in use, or the last good one is never removed.",
    keys=(
        Key(name="releases", kind=COUNT, example="5", help="Releases that were live; the current one counts."),
        Key(name="failed", kind=COUNT_OR_NONE, example="2", help="Releases that never were live."),
        Key(
            name="skew_protection",
            kind=DURATION,
            example='"12h"',
            help="How long a release stays after it was live, beyond those: open tabs keep their server and files. "
            'Short at the top of the file: `skew_protection = "12h"`. '
            "Where `releases` is set and this is not, only they stay.",
        ),
    ),
)
PUSH = Section(
    name="push",
    type=options.Push,
    part="push",
    help="Which pushes start a release. Those of the environment's branch do, when they change the app.",
    keys=(
        Key(name="tags", kind=PATTERNS, example='["v*"]', help="Tags that start a release too."),
        Key(
            name="paths",
            kind=PATTERNS,
            example='["shared/**"]',
            help="Files elsewhere that count as the app's. Those of workspace packages that it uses do anyway.",
        ),
        Key(name="ignore", kind=PATTERNS, example='["**/*.md"]', help="Files that never start a release."),
    ),
)
PREVIEWS = Section(
    name="previews",
    type=options.Previews,
    part="previews",
    help="Pull requests are prepared in the environment `preview`, when there is one.",
    keys=(
        Key(name="keep", kind=DURATION, example='"14d"', help="How long a preview stays after its last commit."),
        Key(name="most", kind=COUNT, example="10", help="How many there are at a time; the oldest makes room."),
    ),
)
ASSETS = Section(
    name="assets",
    type=options.Assets,
    part="assets",
    help="An S3-compatible bucket, mostly behind a CDN, that hashed assets go to before a release is flipped to. "
    'Short at the top of the file: `assets = { bucket = "shop-assets", url = "https://cdn.shop.example" }`.',
    keys=(
        Key(name="bucket", kind=BUCKET, example='"shop-assets"', help="The bucket's name. Without it: none is used."),
        Key(name="prefix", kind=BUCKET_PREFIX, example='"shop"', help="The folder in it, for example the app's name."),
        Key(
            name="endpoint",
            kind=ENDPOINT,
            example='"https://s3.example"',
            help="The store's address. Without it: Amazon's, of the region.",
        ),
        Key(name="region", kind=TEXT, example='"eu-central-1"', help="The bucket's region. Without it: us-east-1."),
        Key(
            name="url",
            kind=WEB_URL,
            example='"https://cdn.shop.example"',
            help="Where browsers find what is below `prefix`: Next.js's pages ask for their files there (assetPrefix). "
            "Without it: they ask the hosts.",
        ),
    ),
)
SECTIONS = (BUILD, TRACE, VERIFY, PACKAGE, PROBE, ROLLOUT, RUN, KEEP, PUSH, PREVIEWS, ASSETS)

NAME = Key(name="name", kind=TEXT, example='"shop"', help="The app's name: a-z, 0-9 and '-', at most 30 characters.")
BRANCH = Key(
    name="branch",
    kind=REF,
    example='"main"',
    help="The branch that belongs here: from another one, `deployd release` asks first.",
)
FLEET = Key(
    name="hosts", kind=HOSTS, example='["web1", "web2"]', help="The hosts, by the names of `deployd host list`."
)
SITE = Section(
    name="environments.<name>",
    type=options.Run,
    part="run",
    help="One environment. Any table above may stand under it too, and wins there: [environments.production.probe].",
    keys=(
        Key(
            name="domains",
            kind=DOMAINS,
            example='["shop.example", { name = "www.shop.example", redirect = "shop.example" }]',
            help="Domains that the web server answers for. None: every name that no other app has.",
            fields_of=by_kind,
            value_of=lambda run: (*run.domains, *run.redirects),
        ),
        Key(name="port", kind=PORT, example="80", help="The web server's port, where there is no https."),
        Key(
            name="trusted_proxies",
            kind=NETWORKS,
            example='["10.0.0.0/8"]',
            help="Networks of the load balancer or CDN before the hosts: its `X-Forwarded-For` and `X-Forwarded-Proto` "
            "are believed. Without it: nobody's are.",
        ),
        Key(
            name="tls",
            kind=TLS,
            example='"acme"',
            help="How certificates are had: from a public authority, the host's own, files, or not at all. "
            "Without it: acme, when all domains are public.",
        ),
        Key(
            name="hsts",
            kind=HSTS,
            example="true",
            help="For how long browsers take nothing but https; true is a year. Without it: they are not told.",
        ),
        Key(
            name="acme_email",
            kind=EMAIL,
            example='"ops@shop.example"',
            help="Where the authority writes to when something is wrong.",
        ),
        Key(
            name="acme_directory",
            kind=HTTPS_URL,
            example='"https://acme.example/directory"',
            help="The authority's address. Without it: Let's Encrypt's.",
        ),
        Key(
            name="acme_ca_root",
            kind=TEXT,
            example='"/etc/ssl/acme-root.pem"',
            help="The certificate that the authority's own address is checked with. Without it: the system's.",
        ),
        Key(
            name="preview_domain",
            kind=DOMAIN,
            example='"preview.shop.example"',
            help="Below it each release has its own address: <release>.<app>.<preview_domain>; branches have, too.",
        ),
        Key(
            name="preview_password",
            kind=BCRYPT,
            example='"$2b$12$P0e7VtEXvPABEl7JZp3bFu2D9sYv2ohZ1bYe3z/qFZcdv00zINvpm"',
            help="The hash of a password that previews ask for, as `deployd preview password` makes it.",
        ),
        Key(
            name="cache",
            kind=CACHE,
            example='{ env = "REDIS_URL" }',
            help="The Redis in which the hosts share Next.js's cache and what `revalidateTag` says, or the variable "
            "that holds its address with a password. Without it: each host has a cache of its own.",
        ),
    ),
)
CONSENT = Section(
    name="environments.<name>",
    type=options.Approval,
    part="approval",
    help="Who must agree before a release goes live in one environment.",
    keys=(
        Key(
            name="approval",
            kind=APPROVAL,
            field="mode",
            example="true",
            help='Wait for `deployd approve` once a release is prepared; "other": not by who asked for it.',
        ),
        Key(
            name="approval_timeout",
            kind=DURATION,
            field="timeout",
            example='"24h"',
            help="How long it waits; then it stays as it is, and is released again when it is wanted.",
        ),
    ),
)
