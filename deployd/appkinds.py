"""What the values of `deployd.toml` may be: TOML's value comes in, ours goes out, or ValueError; and back as TOML."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployd.domain import sites
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


def _probe_path(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"/[!-~]*", text):
        raise ValueError
    return text


def _host_header(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"[A-Za-z0-9.:\[\]_-]{1,255}", text):
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


def by_kind(found: tuple[str | tuple[str, str], ...]) -> dict[str, Any]:
    """Domains of the app, and those that redirect, from what one list holds."""
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


def _network(value: Any) -> str:
    import ipaddress

    return str(ipaddress.ip_network(_text(value), strict=False))


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


def _bucket(value: Any) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", _text(value)):
        raise ValueError
    return str(value)


def _bucket_prefix(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - one error for every wrong value
    text = value.strip("/")
    if text and not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", text):
        raise ValueError
    return text


def _endpoint(value: Any) -> str:
    text = _text(value).rstrip("/")
    if not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:_-]+", text):
        raise ValueError
    return text


def _web_url(value: Any) -> str:
    text = _text(value).rstrip("/")
    if not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:_-]+(?:/[A-Za-z0-9._~-]+)*", text):
        raise ValueError
    return text


def _cache(value: Any) -> str:
    """`redis://...` without a password, or `{ env = "REDIS_URL" }` as `env:REDIS_URL`."""
    if isinstance(value, dict):
        if set(value) != {"env"} or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,254}", _text(value["env"])):
            raise ValueError
        return f"env:{value['env']}"
    if not re.fullmatch(r"rediss?://[A-Za-z0-9.\[\]:_-]+(?:/[0-9]{1,4})?/?", _text(value)):
        raise ValueError
    return str(value)


def _write_cache(value: str) -> str:
    name = value.removeprefix("env:")
    return _toml(value) if name == value else _write_table({"env": name})


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


def _some(one: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def parse(value: Any) -> tuple[Any, ...]:
        found = _many(one)(value)
        if not found:
            raise ValueError
        return found

    return parse


def duration(low: float, high: float) -> Kind:
    """A duration that a host takes, both bounds in seconds."""

    def parse(value: Any) -> float:
        seconds = _duration(value)
        if not low <= seconds <= high:
            raise ValueError
        return seconds

    bounds = f'from "{write_duration(low)}" to "{write_duration(high)}"'
    return Kind(expected=f"{DURATION.expected}, {bounds}", parse=parse, write=DURATION.write)


def choice(*values: str) -> Kind:
    """One of these words."""

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


class PartError(ValueError):
    """What is wrong in a part of a value, in words that follow the key."""


def _relative(value: Any) -> str:
    text = _text(value)
    if text.startswith("/") or "\\" in text:
        raise ValueError
    return text


def _globs(value: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004 - one error for every wrong value
    return tuple((_text(route), _many(_glob)(files)) for route, files in value.items())


def _glob(value: Any) -> str:
    """A glob of files; a backslash stands before a sign that would mean something else (`[` of a folder's name)."""
    text = _text(value)
    if text.startswith("/") or re.search(r"\\(?![^\w\s/])", text):
        raise PartError(f"has {text!r}, which is no path from the app's folder with / between its parts")
    return text


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
URL_PATHS = Kind(expected='a list of paths that begin with "/"', parse=_many(_path), write=_toml)
STATUSES = Kind(
    expected="a list of HTTP statuses such as [200, 204]", parse=_some(_whole(_STATUS[0], _STATUS[-1])), write=_toml
)
SUCCESSES = Kind(expected="a whole number from 1 to 100", parse=_whole(1, 100), write=_toml)
PROBE_PATH = Kind(
    expected='a path that begins with "/", as it is sent: "/caf%C3%A9", not "/café"', parse=_probe_path, write=_toml
)
PROBE_PATHS = Kind(
    expected='a list of paths that begin with "/", as they are sent: "/caf%C3%A9", not "/café"',
    parse=_many(_probe_path),
    write=_toml,
)
HOST_HEADER = Kind(expected='a host name such as "shop.example"', parse=_host_header, write=_toml)
INSTANCES = Kind(expected='a whole number from 1 to 64, or "cores"', parse=_instances, write=_toml)
HOSTS = Kind(expected='a list of host names such as ["web1", "web2"]', parse=_many(HostName.parse), write=_toml)
DOMAINS = Kind(
    expected='a list of domains such as ["shop.example"]; one that leads elsewhere is { name = ..., redirect = ... }',
    parse=_sites,
    write=_write_sites,
)
NETWORKS = Kind(expected='a list of networks or addresses such as ["10.0.0.0/8"]', parse=_many(_network), write=_toml)
DOMAIN = Kind(expected='a domain such as "preview.shop.example"', parse=_plain_domain, write=_toml)
BCRYPT = Kind(expected="what `deployd preview password` printed", parse=_bcrypt, write=_toml)
TLS = Kind(expected='"acme", "internal", "off", or { cert = FILE, key = FILE }', parse=_tls, write=_write_tls)
HSTS = Kind(
    expected='true, false, or a duration such as "365d"', parse=_hsts, write=lambda value: _toml(write_duration(value))
)
HTTPS_URL = Kind(expected='an address that begins with "https://"', parse=_https, write=_toml)
BUCKET = Kind(expected="a bucket's name: 3 to 63 of a-z, 0-9, '-' and '.'", parse=_bucket, write=_toml)
BUCKET_PREFIX = Kind(expected='a folder in the bucket such as "shop" or "shop/web"', parse=_bucket_prefix, write=_toml)
ENDPOINT = Kind(expected='an address such as "https://s3.example", without a path', parse=_endpoint, write=_toml)
WEB_URL = Kind(expected='an address such as "https://cdn.shop.example/shop", without "?"', parse=_web_url, write=_toml)
CACHE = Kind(
    expected='"redis://host:6379/0" without a password, or { env = "REDIS_URL" } for a variable that holds it',
    parse=_cache,
    write=_write_cache,
)
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
