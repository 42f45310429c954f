"""Every key of `deployd.toml`, declared once: place, kind, meaning, example. Defaults are domain/options.py's.

From this table come the checks of appfile.py, the annotated files in etc/, docs/reference/app.md and `deployd docs`.
No pydantic: it takes 0.2 s to import and `deployd status` reads this file (measured; see ARCHITECTURE.md).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from deployd.domain import options, sites
from deployd.domain.ids import HostName
from deployd.domain.quantity import parse_duration, parse_size, write_duration, write_size

if TYPE_CHECKING:
    from collections.abc import Callable

_DOMAIN = re.compile(
    r"(?=.{1,253}$)(?:\*\.)?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
)
_STATUS = range(100, 600)
_PORTS = range(1, 65536)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a value may be: `expected` completes "should be ...", `parse` raises ValueError, `write` gives TOML."""

    expected: str
    parse: Callable[[Any], Any]
    write: Callable[[Any], str]


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


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        raise ValueError
    return value


def _whole(low: int, high: int | None = None) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
            raise ValueError
        return value

    return parse


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ValueError
    return float(value)


def _duration(value: Any) -> float:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - one error for every wrong value
    return parse_duration(value)


def _size(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - one error for every wrong value
    return parse_size(value)


def _path(value: Any) -> str:
    text = _text(value)
    if not text.startswith("/") or any(char.isspace() for char in text):
        raise ValueError
    return text


def _ref(value: Any) -> str:
    text = _text(value)
    if text.startswith("-"):
        raise ValueError
    return text


def _domain(value: Any) -> str:
    text = sites.in_ascii(_text(value).strip())
    if not _DOMAIN.fullmatch(text):
        raise ValueError
    return text


def _site(value: Any) -> str | tuple[str, str]:
    """A domain, or one that redirects: `{ name = "www.a.example", redirect = "a.example" }`."""
    if not isinstance(value, dict):
        return _domain(value)
    if set(value) != {"name", "redirect"}:
        raise ValueError
    name, target = _domain(value["name"]), _domain(value["redirect"])
    if name == target or target.startswith("*"):
        raise ValueError
    return name, target


def _sites(value: Any) -> tuple[str | tuple[str, str], ...]:
    found = _many(_site)(value)
    names = [one if isinstance(one, str) else one[0] for one in found]
    if len(set(names)) < len(names):
        raise ValueError
    return found


def _by_kind(found: tuple[str | tuple[str, str], ...]) -> dict[str, Any]:
    return {
        "domains": tuple(one for one in found if isinstance(one, str)),
        "redirects": tuple(one for one in found if not isinstance(one, str)),
    }


def _write_sites(found: Any) -> str:
    written = [
        json.dumps(sites.for_people(one), ensure_ascii=False)
        if isinstance(one, str)
        else _write_table({"name": sites.for_people(one[0]), "redirect": sites.for_people(one[1])})
        for one in found
    ]
    return f"[{', '.join(written)}]"


def _plain_domain(value: Any) -> str:
    text = _domain(value)
    if text.startswith("*"):
        raise ValueError
    return text


def _bcrypt(value: Any) -> str:
    if not re.fullmatch(r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}", _text(value)):
        raise ValueError
    return str(value)


def _tls(value: Any) -> str | tuple[str, str]:
    if isinstance(value, dict):
        if set(value) != {"cert", "key"}:
            raise ValueError
        return _text(value["cert"]), _text(value["key"])
    if value not in ("acme", "internal", "off"):
        raise ValueError
    return str(value)


def _write_tls(value: Any) -> str:
    return _toml(value) if isinstance(value, str) else _write_table({"cert": value[0], "key": value[1]})


def _write_table(table: dict[str, str]) -> str:
    inner = ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items())
    return f"{{ {inner} }}"


def _hsts(value: Any) -> float | None:
    if isinstance(value, bool):
        return sites.HSTS if value else None
    return _duration(value)


def _https(value: Any) -> str:
    text = _text(value)
    if not text.startswith("https://") or any(char.isspace() or char in '{}"`' for char in text):
        raise ValueError
    return text


def _email(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"[^@\s{}\"`]+@[^@\s{}\"`]+", text):
        raise ValueError
    return text


def _instances(value: Any) -> int | str:
    return "cores" if value == "cores" else _whole(1, 64)(value)


def _many(one: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def parse(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError  # noqa: TRY004 - one error for every wrong value
        return tuple(dict.fromkeys(one(item) for item in value))

    return parse


def _choice(*values: str) -> Kind:
    def parse(value: Any) -> str:
        if value not in values:
            raise ValueError
        return str(value)

    return Kind(expected="one of " + ", ".join(f'"{value}"' for value in values), parse=parse, write=json.dumps)


def _approval(value: Any) -> str:
    if isinstance(value, bool):
        return "any" if value else "off"
    if value != "other":
        raise ValueError
    return str(value)


def _relative(value: Any) -> str:
    text = _text(value)
    if text.startswith("/") or "\\" in text:
        raise ValueError
    return text


def _globs(value: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004 - one error for every wrong value
    return tuple((_text(route), _many(_relative)(files)) for route, files in value.items())


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - one error for every wrong value
    return value


def _write_globs(value: Any) -> str:
    inner = ", ".join(f"{json.dumps(route, ensure_ascii=False)} = {_toml(files)}" for route, files in value)
    return f"{{ {inner} }}" if inner else "{}"


def _toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


TEXT = Kind(expected="a text", parse=_text, write=_toml)
REF = Kind(expected="a branch's name", parse=_ref, write=_toml)
DURATION = Kind(
    expected='a duration such as "500ms", "30s" or "20m"',
    parse=_duration,
    write=lambda value: _toml(write_duration(value)),
)
SIZE = Kind(expected='a size such as "512M" or "4G"', parse=_size, write=lambda value: _toml(write_size(value)))
NUMBER = Kind(expected="a number above 0", parse=_number, write=_toml)
COUNT = Kind(expected="a whole number, 1 or more", parse=_whole(1), write=_toml)
COUNT_OR_NONE = Kind(expected="a whole number, 0 or more", parse=_whole(0), write=_toml)
PORT = Kind(expected="a port, 1 to 65535", parse=_whole(_PORTS[0], _PORTS[-1]), write=_toml)
URL_PATH = Kind(expected='a path that begins with "/"', parse=_path, write=_toml)
URL_PATHS = Kind(expected='a list of paths that begin with "/"', parse=_many(_path), write=_toml)
STATUSES = Kind(
    expected="a list of HTTP statuses such as [200, 204]", parse=_many(_whole(_STATUS[0], _STATUS[-1])), write=_toml
)
INSTANCES = Kind(expected='a whole number from 1 to 64, or "cores"', parse=_instances, write=_toml)
HOSTS = Kind(expected='a list of host names such as ["web1", "web2"]', parse=_many(HostName.parse), write=_toml)
DOMAINS = Kind(
    expected='a list of domains such as ["shop.example"]; one that leads elsewhere is { name = ..., redirect = ... }',
    parse=_sites,
    write=_write_sites,
)
DOMAIN = Kind(expected='a domain such as "preview.shop.example"', parse=_plain_domain, write=_toml)
BCRYPT = Kind(expected="what `deployd preview password` printed", parse=_bcrypt, write=_toml)
TLS = Kind(expected='"acme", "internal", "off", or { cert = FILE, key = FILE }', parse=_tls, write=_write_tls)
HSTS = Kind(
    expected='true, false, or a duration such as "365d"', parse=_hsts, write=lambda value: _toml(write_duration(value))
)
HTTPS_URL = Kind(expected='an address that begins with "https://"', parse=_https, write=_toml)
EMAIL = Kind(expected="an email address", parse=_email, write=_toml)
RELATIVE = Kind(expected="a path below the repository, with forward slashes", parse=_relative, write=_toml)
GLOBS = Kind(
    expected='a table of routes and file globs such as { "/api/*" = ["data/**"] }', parse=_globs, write=_write_globs
)
PATTERNS = Kind(expected='a list of globs such as ["v*"]', parse=_many(_relative), write=_toml)
FLAG = Kind(expected="true or false", parse=_flag, write=_toml)
APPROVAL = Kind(
    expected='true, false or "other"',
    parse=_approval,
    write=lambda value: {"any": "true", "off": "false"}.get(value, '"other"'),
)

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
        Key(name="memory", kind=SIZE, example='"4G"', help="The build's memory limit. Without it: none."),
        Key(name="cpus", kind=NUMBER, example="2.0", help="How many processors the build may use. Without it: all."),
        Key(
            name="framework",
            kind=_choice("nextjs", "nuxt", "astro", "sveltekit", "react-router", "node", "static"),
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
            kind=_choice("strict", "warn", "off"),
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
        Key(name="path", kind=URL_PATH, example='"/health"', help="What is asked for."),
        Key(name="status", kind=STATUSES, example="[200]", help="The statuses that count as healthy."),
        Key(name="timeout", kind=DURATION, example='"30s"', help="How long a release may take to become healthy."),
        Key(name="interval", kind=DURATION, example='"250ms"', help="The wait between two questions."),
        Key(name="successes", kind=COUNT, example="2", help="How many healthy answers in a row are needed."),
        Key(name="request_timeout", kind=DURATION, example='"5s"', help="How long one answer may take."),
        Key(
            name="warm",
            kind=URL_PATHS,
            example='["/", "/products"]',
            help="Pages to ask for before the flip: the first visitor finds them warm.",
        ),
        Key(
            name="host",
            kind=TEXT,
            example='"shop.example"',
            help="The Host header of the questions. Without it: the first domain.",
        ),
    ),
)
ROLLOUT = Section(
    name="rollout",
    type=options.Waves,
    part="waves",
    help="In which order the hosts are flipped, once the release is prepared on all of them.",
    keys=(
        Key(
            name="strategy",
            kind=_choice("all", "batch", "canary"),
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
            'Short at the top of the file: `skew_protection = "12h"`.',
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
SECTIONS = (BUILD, TRACE, VERIFY, PACKAGE, PROBE, ROLLOUT, RUN, KEEP, PUSH, PREVIEWS)

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
            fields_of=_by_kind,
            value_of=lambda run: (*run.domains, *run.redirects),
        ),
        Key(name="port", kind=PORT, example="80", help="The web server's port, where there is no https."),
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
