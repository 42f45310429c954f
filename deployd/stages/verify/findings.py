"""What a trial saw (looks in vain, output, answers) and the checkout -> findings, each with what mends it.

A module that was not found is an error when it did harm, so that the output names it. A file that
the code tried to read, and that the checkout has, is an error; where the code only asked whether it is there, it is
told. Any other failure is told: nothing that needs a network or a database can work in a trial.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deployd.stages.verify.checkout import plain
from deployd.stages.verify.server import ROOT
from deployd.stages.verify.values import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from deployd.stages.verify.checkout import Checkout
    from deployd.stages.verify.server import Answer

_SAID = re.compile(
    r"Cannot find (?:module|package) '(?P<name>[^'\n]+)'(?: imported from (?P<importer>[^\s'\"]+))?"
    r"(?:\s+Require stack:\s+- (?P<stack>\S+))?"
)
_OTHER_PLATFORM = "install it for the hosts' platform; docs/verification.md says how"
_OTHER_NODE = (
    "it was built for another Node.js than this release's: say which with .nvmrc or build.node, commit no node_modules,"
    " and build again with `deployd release --no-cache`"
)
_LIBRARY = re.compile(r"(?P<name>[\w.+-]+\.so[\w.]*): cannot open shared object file")
_READ_ONLY = re.compile(r"EROFS: read-only file system, (?P<call>\w+) '(?P<path>[^'\n]+)'")
_READS = {"open", "openSync", "readFile", "readFileSync", "readdir", "readdirSync", "opendir", "opendirSync"}
# what is meant to stay behind, or is looked for by everybody and needed by nobody
_EXPECTED = re.compile(
    r"""(?:^|/)(?: \.env[^/]* | tsconfig\.json | jsconfig\.json | next\.config\.[cm]?[jt]s | [^/]+\.map
      | [^/]+\.nft\.json | \.git(?:/.*)? | \.npmrc | \.browserslistrc
      | (?:package-lock\.json|yarn\.lock|pnpm-lock\.yaml|bun\.lockb?)
      | \.next/(?:trace|cache|diagnostics|types|dev)(?:[-/].*)? )$""",
    re.VERBOSE,
)
_SECRET = re.compile(
    r"(?:^|/)(?:[^/]+\.(?:pem|key|p12|pfx|jks|keystore)|id_[a-z0-9]+|\.netrc|\.pgpass)$", re.IGNORECASE
)
_FAILED = 500
BUNDLED = "/ROOT"
"""What `__dirname` begins with in code that Turbopack has bundled."""
_FRAMEWORKS = ("node_modules/next/", "node_modules/@swc/", "node_modules/react", "node_modules/styled-jsx/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that a trial saw. `events` are watch.cjs's; `ended` is whether the server ended by itself."""

    events: Sequence[Mapping[str, Any]]
    output: str
    answers: Sequence[Answer]
    ended: bool

    def route(self, url: str | None) -> str | None:
        """The route that a URL was asked for."""
        path = (url or "").partition("?")[0]
        return next((one.question.route for one in self.answers if one.question.path in (url, path)), None)

    def failed(self, url: str | None) -> bool:
        """Whether the answer for that URL was an error; outside of any request, whether the server ended."""
        if url is None:
            return self.ended
        path = url.partition("?")[0]
        return any(
            one.question.path in (url, path) and (one.status is None or one.status >= _FAILED) for one in self.answers
        )


def events_of(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The events that watch.cjs wrote; the line that a killed server did not finish is left out."""
    found = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            found.append(event)
    return found


def judge(
    seen: Seen, *, checkout: Checkout | None, written: Iterable[str], built: str | None = None, foreign: bool = False
) -> tuple[Finding, ...]:
    """What is wrong, errors first, each once.

    `written` are the places that the server writes. `built` is the folder of a Next.js build: its server can do without
    some of the manifests, so a missing one is an error only where a request failed. With `foreign` the hosts have
    another CPU than this machine: what native code cannot load says nothing then.
    """
    found = [
        *_modules(seen, checkout),
        *_written(seen),
        *_files(seen, checkout, written=tuple(f"{place}/" for place in written), built=built),
        *([] if foreign else _libraries(seen, checkout)),
    ]
    merged: dict[object, Finding] = {}
    for finding in found:
        key = finding.include[1] if finding.include else finding.what
        known = merged.get(key)
        if known is None:
            merged[key] = finding
            continue
        first = known if known.error or not finding.error else finding
        if known.include and finding.include and known.include != finding.include:
            first = replace(first, include=("/*", known.include[1]))
        merged[key] = first
    told = [replace(one, fix=write(one.include)) if one.include else one for one in merged.values()]
    return tuple(sorted(told, key=lambda finding: not finding.error))


def _modules(seen: Seen, checkout: Checkout | None) -> Iterator[Finding]:
    said = {match["name"]: match for match in _SAID.finditer(seen.output)}
    looked = [event for event in seen.events if event.get("kind") == "module"]
    for event in looked:
        request, importer, url = str(event["request"]), _inside(event.get("from")), event.get("url")
        named, failed = request in said, seen.failed(url)
        if importer is None or any(name in importer for name in _FRAMEWORKS):
            # a framework looks for what it can do without, but not for a page's own file, which the build has made
            path = _path_of(request)
            failed = failed and url is not None and bool(path and checkout and checkout.has(path))
            told = False
        else:
            # packages have things that they can do without, bundled ones too, and a request may fail for want of a
            # database: a module that did harm is named in the output
            told = url is not None and (failed or "node_modules" not in importer)
            failed = False
        yield from _module(request, importer, seen.route(url), checkout, error=named or failed, told=told)
    for name, match in said.items():  # of an `import`, nobody but the output tells
        if not any(event["request"] == name for event in looked):
            importer = _inside(match["importer"] or match["stack"])
            yield from _module(name, importer, None, checkout, error=True, told=True)


def _module(
    request: str, importer: str | None, route: str | None, checkout: Checkout | None, *, error: bool, told: bool
) -> Iterator[Finding]:
    path = _path_of(request)
    where = None
    if checkout is not None:
        where = checkout.module(f"./{path}", importer="x") if path else checkout.module(request, importer=importer)
    by = f", and {importer} needs it" if importer and error else ""
    if checkout is not None and where is not None and (error or told):
        globs = _globs(where, checkout)
        what = f"{where} is not in the artifact{by}"
        yield Finding(kind="module", what=what, fix="", error=error, include=(_glob_of(route), globs))
    elif error:
        yield Finding(
            kind="module", what=f"the module {path or request!r} is not in the artifact{by}", error=True,
            fix=_nowhere(request, checkout),
        )  # fmt: skip


def _nowhere(request: str, checkout: Checkout | None) -> str:
    """What to do about a module that the checkout does not have either."""
    if checkout is None:
        return "is it in package.json, and was node_modules there when this was packaged?"
    if checkout.names(request):
        return (
            "package.json names it, but it is not installed in that folder: a build that ran elsewhere brings its "
            "node_modules along (or run `npm ci` in the folder first)"
        )
    return "the checkout does not have it either: add it to package.json, and commit the lock file too"


def _globs(where: str, checkout: Checkout) -> tuple[str, ...]:
    if "node_modules" not in where.split("/"):
        return checkout.globs(where)
    return tuple(dict.fromkeys(glob for package in checkout.needs(where) for glob in checkout.globs(package)))


def _written(seen: Seen) -> Iterator[Finding]:
    for path, call in _refused(seen).items():
        yield Finding(
            kind="write", what=f"the server writes into its own folder ({call} {path}), which is read-only on hosts",
            error=seen.ended,
            fix="let it write below os.tmpdir() what may go with the release, and what must stay into a database or an "
            "object store",
        )  # fmt: skip


def _refused(seen: Seen) -> dict[str, str]:
    """The places in the release that the server tried to write, as far as its output says so, and by which call."""
    named = (
        (match["path"].removeprefix("./").rstrip("/"), match["call"]) for match in _READ_ONLY.finditer(seen.output)
    )
    return {inside: call for path, call in named if (inside := _inside(path) or path) and not inside.startswith("/")}


def _files(seen: Seen, checkout: Checkout | None, *, written: tuple[str, ...], built: str | None) -> Iterator[Finding]:
    refused = _refused(seen)
    for event in seen.events:
        if event.get("kind") != "file" or checkout is None:
            continue
        given = str(event["path"])
        path = _inside(given)
        away = f"{checkout.root}/"
        if path is None and given.startswith(away):
            path = given.removeprefix(away)
        if given.startswith(f"{BUNDLED}/"):
            path = given.removeprefix(f"{BUNDLED}/")
            if checkout.has(path):
                yield _bundled(path, seen.route(event.get("url")))
            continue
        if path is None or any(f"/{path}".endswith(f"/{one}") for one in refused):
            continue
        if f"{path}/".startswith(written) or _EXPECTED.search(path) or not checkout.has(path):
            continue
        is_manifest = built is not None and path.startswith(f"{built}/") and path.endswith(".json")
        error = (event["call"] in _READS and not is_manifest) or seen.failed(event.get("url"))
        yield _file(path, event, seen.route(event.get("url")), checkout, absolute=given.startswith(away), error=error)


def _file(
    path: str, event: Mapping[str, Any], route: str | None, checkout: Checkout, *, absolute: bool, error: bool
) -> Finding:
    by = f" ({route})" if route else ""
    if absolute:
        return Finding(
            kind="file", what=f"{path} is read from the folder of the build, which no host has{by}", error=error,
            fix="make its path from process.cwd() when the server runs, not while it is built",
        )  # fmt: skip
    if _SECRET.search(path):
        return Finding(
            kind="file", what=f"{path} is read, and stays behind because it can hold secrets{by}", error=error,
            fix="keep its text in a variable: deployd env set NAME --file PATH",
        )  # fmt: skip
    verb = "is read" if event["call"] in _READS else "is looked for"
    return Finding(
        kind="file", what=f"{path} {verb}, and not in the artifact{by}", fix="", error=error,
        include=(_glob_of(route), checkout.globs(path)),
    )  # fmt: skip


def _bundled(path: str, route: str | None) -> Finding:
    by = f" ({route})" if route else ""
    return Finding(
        kind="file",
        what=f"{path} is looked for in {BUNDLED}, which is nowhere: Turbopack bundled the code that reads it{by}",
        error=False,
        fix="Next.js bundles a workspace's own packages, those in serverExternalPackages too, and `next start` fails "
        "there as well: import the file, or make its path from process.cwd()",
    )


def _libraries(seen: Seen, checkout: Checkout | None) -> Iterator[Finding]:
    for event in seen.events:
        if event.get("kind") != "dlopen":
            continue
        path, message = _inside(event["path"]) or str(event["path"]), str(event["message"])
        route, error = seen.route(event.get("url")), seen.failed(event.get("url")) or message in seen.output
        match = _LIBRARY.search(message)
        where = checkout.find(match["name"], below=path) if checkout and match else None
        if match and where and checkout:
            yield Finding(
                kind="native", what=f"{path} needs {match['name']}, which is not in the artifact", error=True,
                fix="", include=(_glob_of(route), checkout.globs(where)),
            )  # fmt: skip
        else:
            yield Finding(
                kind="native", what=f"{path} cannot be loaded: {message.replace(ROOT + '/', '')}", error=error,
                fix=_OTHER_NODE if "NODE_MODULE_VERSION" in message else _OTHER_PLATFORM,
            )  # fmt: skip


def include_line(findings: Iterable[Finding]) -> str | None:
    """The one line for deployd.toml that mends all that can be mended so; None when nothing can."""
    wanted: dict[str, dict[str, None]] = {}
    for finding in findings:
        if finding.include:
            wanted.setdefault(finding.include[0], {}).update(dict.fromkeys(finding.include[1]))
    if not wanted:
        return None
    inner = ", ".join(f"{json.dumps(route)} = {json.dumps(list(globs))}" for route, globs in wanted.items())
    return f"include = {{ {inner} }}"


def write(include: tuple[str, tuple[str, ...]]) -> str:
    """What to do, for one finding."""
    return (
        f"write into deployd.toml, below [trace]: include = {{ {json.dumps(include[0])} = {json.dumps(include[1])} }}"
    )


def _glob_of(route: str | None) -> str:
    return plain(route) if route else "/*"


def _path_of(request: str) -> str | None:
    """The path in the artifact that an absolute request names."""
    return _inside(request) if request.startswith(("/", "file://")) else None


def _inside(path: object) -> str | None:
    """A path in the artifact, from where the server sees it."""
    text = str(path or "").removeprefix("file://")
    return text.removeprefix(f"{ROOT}/") if text.startswith(f"{ROOT}/") else None
