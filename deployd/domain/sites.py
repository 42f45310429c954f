"""Names of sites: what an app asks for comes in; how it is reached and how its certificate is had goes out. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployd.domain.options import Run

Way = Literal["off", "internal", "acme", "files"]
"""How a host gets a certificate: not at all, from its own authority, from a public one by its own web server, or as
files that deployd brings (an operator's, or one that deployd obtained)."""

DIRECTORY = "https://acme-v02.api.letsencrypt.org/directory"
HTTP = 80
HSTS = 365 * 86400.0

# RFC 2606, 6761, 6762, 8375, and names that only private networks use: no public authority certifies them.
_PRIVATE = frozenset(
    (
        *(
            "test",
            "example",
            "invalid",
            "localhost",
            "local",
            "internal",
            "home.arpa",
            "lan",
            "home",
            "corp",
            "private",
        ),
        *("example.com", "example.net", "example.org"),
    )
)


def is_public(name: str) -> bool:
    """Whether a public authority may certify this name. An address is none."""
    bare = name.removeprefix("*.")
    _, dot, last = bare.rpartition(".")
    return bool(dot) and not last.isdigit() and not any(bare == one or bare.endswith("." + one) for one in _PRIVATE)


def is_certified(name: str, run: Run) -> bool:
    """Whether the authority of these options certifies this name: one of the operator's own is taken to do."""
    return run.acme_directory is not None or is_public(name)


def names_of(run: Run) -> tuple[str, ...]:
    """Every name that needs a certificate: the app's and those that redirect."""
    return (*run.domains, *(name for name, _ in run.redirects))


def way_of(run: Run) -> Way:
    """How the certificate of these options is had on each host."""
    names = names_of(run)
    if not names or run.tls == "off":
        return "off"
    if isinstance(run.tls, tuple):
        return "files"
    if run.tls is None and (run.port != HTTP or not all(is_certified(name, run) for name in names)):
        return "off"
    if run.tls == "internal":
        return "internal"
    return "files" if is_central(run) else "acme"


def is_central(run: Run) -> bool:
    """Whether an authority's certificate is obtained by deployd: for several hosts, and for wildcards."""
    return run.shared or any(name.startswith("*") for name in names_of(run))


def problem_of(run: Run) -> tuple[str, str, str] | None:
    """What does not fit together: the key, what is wrong, and the fix. None when all is well."""
    names = names_of(run)
    public = [name for name in names if is_certified(name, run)]
    if run.redirects and not run.domains:
        return "domains", "every domain redirects, and none is the app's", 'name one that is: domains = ["example.com"]'
    if run.tls is None and run.port == HTTP and public and len(public) < len(names):
        private = next(name for name in names if name not in public)
        what = f"`tls` must be said: no public authority certifies {private}, and {public[0]} has one"
        return "domains", what, 'tls = "off", or "internal", or give each kind an environment of its own'
    if way_of(run) != "off" and run.port != HTTP:
        return "port", "https is on port 443 and redirects from port 80", 'leave `port` away, or tls = "off"'
    if run.tls not in (None, "off") and not names:
        return "tls", "`tls` needs `domains`: a certificate is for names", 'domains = ["example.com"]'
    return None


def covers(pattern: str, name: str) -> bool:
    """Whether a certificate's name is good for this one; `*.a` is good for `*.a` and for one label below `a`."""
    pattern, name = pattern.lower(), name.lower()
    if pattern == name:
        return True
    return pattern.startswith("*.") and not name.startswith("*.") and name.partition(".")[2] == pattern[2:]


def uncovered(names: Iterable[str], certified: Iterable[str]) -> tuple[str, ...]:
    """The names that none of the certified ones is good for."""
    patterns = tuple(certified)
    return tuple(name for name in names if not any(covers(pattern, name) for pattern in patterns))


def in_ascii(name: str) -> str:
    """A name as DNS has it: `bücher.example` becomes `xn--bcher-kva.example`. Raises ValueError."""
    if name.isascii():
        return name.lower()
    import idna

    star = "*." if name.startswith("*.") else ""
    return star + idna.encode(name.removeprefix("*."), uts46=True).decode()


def for_people(name: str) -> str:
    """A name as people write it: `xn--bcher-kva.example` becomes `bücher.example`."""
    if "xn--" not in name:
        return name
    import idna

    star = "*." if name.startswith("*.") else ""
    try:
        return star + idna.decode(name.removeprefix("*."))
    except idna.IDNAError:
        return name
