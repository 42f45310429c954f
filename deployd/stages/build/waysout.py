"""The known reasons why installs and builds fail: a pattern of their output, and what a person can do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WayOut:
    """`pattern` is searched in the last lines of the output; `only_install` leaves builds alone."""

    pattern: re.Pattern[str]
    fix: str
    only_install: bool = False


def _way(pattern: str, fix: str, *, only_install: bool = False) -> WayOut:
    return WayOut(re.compile(pattern, re.MULTILINE | re.VERBOSE), fix, only_install)


MORE_MEMORY = (
    "raise build.memory if deployd.toml sets it, or set NODE_OPTIONS=--max-old-space-size=4096 with "
    "`deployd env set --build`"
)
LET_IN = _way(
    r"""\bE40[13]\b | FETCH_40[13] | \b40[13]\ (?:Unauthorized|Forbidden) | \b40[13]\b\W*$ | YN0041
      | Invalid\ authentication | No\ authorization\ header\ was\ set | do\ not\ have\ permission\ to\ access\ it""",
    "give builds the registry's token: `deployd env set --build NPM_TOKEN`, and name it in the app's .npmrc as "
    "`//HOST/:_authToken=${NPM_TOKEN}` (Yarn 2 and later: `npmAuthToken` in .yarnrc.yml)",
    only_install=True,
)
# The first that fits counts.
KNOWN = (
    _way(
        r"""Missing:\ \S+-(?:darwin|win32|linux|android|freebsd)\S*@\S*\ from\ lock\ file""",
        "the lock file lacks packages for other platforms, which npm leaves out where node_modules was there first: "
        "remove node_modules and the lock file, run `npm install`, and commit the lock file",
        only_install=True,
    ),
    _way(
        r"""can\ only\ install\ packages\ when\ your\ package\.json\ and\ package-lock\.json
          | ERR_PNPM_(?:OUTDATED_LOCKFILE|FROZEN_LOCKFILE|LOCKFILE_CONFIG_MISMATCH) | YN0028
          | lockfile\ needs\ to\ be\ updated | lockfile\ is\ frozen""",
        "the lock file does not match package.json: install once on your machine, and commit the lock file",
    ),
    _way(
        r"""can\ only\ install\ with\ an\ existing\ package-lock\.json | ERR_PNPM_(?:BROKEN_LOCKFILE|LOCKFILE_BREAKING)
          | (?i:(?:unknown|unsupported|invalid|failed\ to\ parse)\ lockfile | invalidlockfile) | YN0039
          | lockfile\ is\ (?:broken|ignored|incompatible) | incompatible\ with\ the\ current""",
        "the package manager cannot read the lock file: make it again on your machine and commit it, or name the "
        "version that wrote it with packageManager in package.json",
        only_install=True,
    ),
    _way(
        r"EINTEGRITY | TARBALL_INTEGRITY | (?i:integrity\ check\ failed) | YN0018",
        "a package is not the one that the lock file names: if that is right, install once on your machine and commit "
        "the lock file; else do not trust it",
        only_install=True,
    ),
    _way(
        r"""(?i:permission\ denied\ \(publickey | host\ key\ verification\ failed | could\ not\ read\ username
          | could\ not\ read\ from\ remote | authentication\ failed\ for | ls-remote\ (?:-\S+\ )*(?:ssh:|git@))""",
        "a dependency is fetched by git, and builds have none of your SSH keys: publish it to a registry, or name it "
        "as git+https://..., with a token where it is private (`deployd env set --build`)",
        only_install=True,
    ),
    LET_IN,
    _way(
        r"""E404\b.* | FETCH_404 | YN0035 | ETARGET | NO_MATCHING_VERSION | (?:-|:)\ 404$""",
        "the registry has no such package or version, or hides it from this build: see the name, and the registry that "
        "the app's .npmrc names",
        only_install=True,
    ),
    _way(
        r"EUNSUPPORTEDPROTOCOL.*|Unsupported\ URL\ Type",
        "package.json has a version that npm does not know (`workspace:` and `catalog:` are others'), and "
        "the lock file is npm's: commit the lock file of the package manager that you use, and no other",
        only_install=True,
    ),
    _way(
        r"""binaries\.prisma\.sh | (?i:failed\ to\ fetch\ (?:the\ )?engine\ file)""",
        "Prisma fetches its engine while it is installed or generated, and this machine does not reach "
        "binaries.prisma.sh: name a mirror (`deployd env set --build PRISMA_ENGINES_MIRROR`), let it reach that, or "
        'do without it (Prisma 7, or `engineType = "client"` with a driver adapter)',
    ),
    _way(
        r"""prebuild-install\ (?:warn|ERR!)\b | node-pre-gyp\ (?:ERR!|WARN) | https://github\.com/\S+/releases/download/""",
        "a package fetches its binary from another place than the registry (mostly github.com) while it is installed, "
        "and it could not: let it reach that place, name a mirror with `deployd env set --build` (the variable "
        "is the package's own, npm_config_NAME_binary_host), or use a package that brings its binary",
        only_install=True,
    ),
    _way(
        r"""ENOTFOUND | EAI_AGAIN | ECONNREFUSED | ECONNRESET | ETIMEDOUT | ERR_SOCKET_TIMEOUT | getaddrinfo
          | Could\ not\ resolve\ host | Failed\ to\ connect\ to | ConnectionRefused""",
        "a registry or server could not be reached from this machine: see its address and the proxy, and try again",
    ),
    _way(
        r"""EBADENGINE | UNSUPPORTED_ENGINE | engine\ "\w+"\ is\ incompatible
          | For\ Next\.js,\ Node\.js\ version\ .*\ is\ required""",
        "name a Node.js version that fits in .nvmrc, in engines.node, or as build.node in deployd.toml; the package "
        "manager's own is packageManager in package.json",
    ),
    _way(
        r"EBADPLATFORM | UNSUPPORTED_PLATFORM | is\ incompatible\ with\ this\ module",
        "a package is for another platform only: make it an optional dependency, or take it out",
        only_install=True,
    ),
    _way(
        r"ERESOLVE",
        "the packages' peers do not fit together: mend package.json, or install as on your machine, such as "
        '`build.install = "npm ci --legacy-peer-deps"` in deployd.toml',
        only_install=True,
    ),
    _way(
        r"(?i:gyp\ ERR!\ (?:find|build|stack) | not\ found:\ make | make:\ (?:g\+\+|cc): | g\+\+:\ not\ found)",
        "a package is compiled when it is installed: `apt-get install build-essential python3` on this machine, or use "
        "a version of it that brings its binaries",
        only_install=True,
    ),
    _way(
        r"""heap\ out\ of\ memory | (?i:array\ buffer\ allocation\ failed | cannot\ allocate\ memory) | \bENOMEM\b
          | std::bad_alloc""",
        f"the build ran out of memory: {MORE_MEMORY}",
    ),
    _way(
        r"(?i:ENOSPC | no\ space\ left\ on\ device | EDQUOT | quota\ exceeded)",
        "the disk of this machine is full: make room below deployd's state folder",
    ),
    _way(
        r"""(?i:missing\ script:?\ "?build | couldn't\ find\ a\ script\ named\ "build" | command\ "build"\ not\ found
          | script\ not\ found\ "build")""",
        "add a build script to package.json, or set build.command in deployd.toml",
    ),
    _way(
        r"""`dynamic\ =\ "error"`\ couldn't\ be\ rendered""",
        "the page reads what only a request has: take `output: 'export'` out of next.config (or `dynamic = \"error\"` "
        "out of the page), and deployd runs the app as a server; or take that out of the page",
    ),
    _way(
        r"""(?i:\boutput["'`]?\s?[:=]\s?["'`]?export\b) | not\ supported\ with\ static\ export
          | (?:can\ not|cannot|couldn't)\ be\ exported""",
        "take `output: 'export'` out of next.config, and deployd runs the app as a server; or take that feature out",
    ),
    _way(
        r"Cannot\ find\ (?:package|module)\ '(?![./])|ERR_MODULE_NOT_FOUND",
        "something imports a package that package.json does not have (it may lie on your machine by chance): add it, "
        "and commit the lock file too",
    ),
    _way(
        r"""^(?!Usage\ Error).*(?:(?<!Reference)[Ee]rror\b|\u274c).*(?:
              (?i:environment\ variables?\b)
            | (?<![\w.])[A-Z][A-Z0-9]*_[A-Z0-9_]+\W{1,3}(?:is|are|was|must\ be)\ (?:not\ |un)?
              (?:set|defined|provided|required|missing|empty|configured)
            | (?:[Mm]issing|[Nn]o|[Dd]efine)\ (?:the\ )?\W?[A-Z][A-Z0-9]*_[A-Z0-9_]+)""",
        "something that runs while the app is built reads a variable: `deployd env set --both NAME` gives it to the "
        "build and the server, --build to the build alone; without either, only the server has it",
    ),
    _way(
        r"Failed\ to\ load\ next\.config | next\.config\.(?:[mc]?[jt]s|compiled\.js)[:'\")]",
        "next.config throws: mend it; a variable that it reads comes from `deployd env set --build`",
    ),
)
