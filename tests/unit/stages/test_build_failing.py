"""What package managers and builds print when they fail, as they print it: the way out that a person is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployd.stages.build import failing

if TYPE_CHECKING:
    from pathlib import Path

NPM_USAGE = """\
npm error code EUSAGE
npm error
npm error `npm ci` can only install packages when your package.json and package-lock.json or npm-shrinkwrap.json are in sync.
npm error Missing: is-odd@3.0.1 from lock file
npm error
npm error Clean install a project
npm error
npm error Usage:
npm error npm ci
npm error
npm error Options:
npm error [--install-strategy <hoisted|nested|shallow|linked>]"""

INSTALLS = {
    NPM_USAGE: "commit the lock file",
    NPM_USAGE.replace("is-odd@3.0.1", "@next/swc-darwin-arm64@"): "remove node_modules and the lock file",
    ' ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with "frozen-lockfile"': "commit the lock file",
    "error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`.": "commit the lock file",
    "➤ YN0028: │ The lockfile would have been modified by this install": "commit the lock file",
    "error: lockfile had changes, but lockfile is frozen": "commit the lock file",
    "npm error The `npm ci` command can only install with an existing package-lock.json or": "cannot read the lock file",
    ' ERR_PNPM_BROKEN_LOCKFILE  The lockfile at "/x/pnpm-lock.yaml" is broken': "cannot read the lock file",
    "error: Unknown lockfile version\nInvalidLockfileVersion: failed to parse lockfile": "cannot read the lock file",
    "npm error code EINTEGRITY\nnpm error sha512-a integrity checksum failed": "do not trust it",
    " ERR_PNPM_TARBALL_INTEGRITY  Got unexpected checksum": "do not trust it",
    "npm error code E401\nnpm error Unable to authenticate": "deployd env set --build NPM_TOKEN",
    "npm error code E403\nnpm error 403 403 Forbidden - GET http://r/p.tgz - no": "deployd env set --build NPM_TOKEN",
    " ERR_PNPM_FETCH_401  GET http://r/p.tgz: Unauthorized - 401": "deployd env set --build NPM_TOKEN",
    "error: GET http://127.0.0.1:1/@acme/priv/-/priv-1.0.0.tgz - 401": "deployd env set --build NPM_TOKEN",
    "➤ YN0041: │ Invalid authentication (as an anonymous user)": "deployd env set --build NPM_TOKEN",
    "error Error: Failed to replace env in config: ${ACME_TOKEN}": "deployd env set --build ACME_TOKEN",
    "Usage Error: Environment variable not found (ACME_TOKEN) in /x/.yarnrc.yml": "deployd env set --build ACME_TOKEN",
    "npm error code E404\nnpm error 404 Not Found - GET http://r/p - no": "no such package",
    "npm error code ETARGET\nnpm error notarget No matching version found for next@99.": "no such package",
    "npm error command git ls-remote ssh://git@x/acme/dep.git\nnpm error Host key verification failed.": "fetched by git",
    "npm error git@github.com: Permission denied (publickey).": "fetched by git",
    "fatal: could not read Username for 'https://github.com': terminal prompts disabled": "fetched by git",
    "npm error code ECONNREFUSED\nnpm error errno ECONNREFUSED": "could not be reached",
    "npm error network request to http://r/p failed, reason: getaddrinfo ENOTFOUND r": "could not be reached",
    'npm error code EBADENGINE\nnpm error notsup Required: {"node":">=99"}': "build.node",
    'error shop@1.0.0: The engine "node" is incompatible with this module. Expected': "build.node",
    "npm error code EBADPLATFORM": "optional dependency",
    "npm error code ERESOLVE\nnpm error ERESOLVE could not resolve": "--legacy-peer-deps",
    "npm error gyp ERR! find Python You need to install the latest version of Python.": "build-essential",
    "npm error code ENOSPC": "disk",
    'npm error code EUNSUPPORTEDPROTOCOL\nnpm error Unsupported URL Type "workspace:": workspace:*': "no other",
    "npm error Error: getaddrinfo ENOTFOUND binaries.prisma.sh": "PRISMA_ENGINES_MIRROR",
    "npm error prebuild-install warn install getaddrinfo ENOTFOUND github.com\nnpm error gyp ERR! stack": "from another place",
}  # fmt: skip

BUILDS = {
    "Error: Error for page /live: pages with `getServerSideProps` can not be exported.": "take `output: 'export'` out",
    "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory": "ran out of memory",
    "RangeError: Array buffer allocation failed": "ran out of memory",
    "Error: ENOSPC: no space left on device, write": "disk",
    'You are using Node.js 18.0.0. For Next.js, Node.js version ">=20.9.0" is required.': "build.node",
    'npm error Missing script: "build"': "build.command",
    "sh: 1: next: not found": "next is not there",
    "sh: line 1: tsc: command not found": "tsc is not there",
    'Error: Page "/live" is missing "generateStaticParams()" so it cannot be used with "output: export" config.':
        "take `output: 'export'` out",
    "Error: Page with `dynamic = \"force-dynamic\"` couldn't be exported. `output: \"export\"` requires all pages be "
    "renderable statically": "take `output: 'export'` out",
    "Error: Route /a with `dynamic = \"error\"` couldn't be rendered statically because it used `cookies()`.": "take `output: 'export'` out",
    'Server Actions are not supported with static export.\nSee `{ output: "export" }`': "take `output: 'export'` out",
    "\u2a2f Failed to load next.config.js, see more info here": "next.config throws",
    "\u2a2f Failed to load next.config.mjs\nError: Cannot find package '@acme/x' imported from /x": "package.json does not have",
    "Error: no API\n    at Object.<anonymous> (/x/next.config.js:1:7)": "next.config throws",
    "TypeError: fetch failed\n  [cause]: Error: connect ECONNREFUSED 127.0.0.1:3001": "could not be reached",
    "Error: DATABASE_URL is not set\n    at x (.next/server/app/page.js:1:2)": "deployd env set --both",
    'Error: Invalid/Missing environment variable: "MONGODB_URI"': "deployd env set --both",
    "error: Environment variable not found: DATABASE_URL.": "deployd env set --both",
    "\u274c Invalid environment variables: [": "deployd env set --both",
    "Error: Missing STRIPE_SECRET_KEY": "deployd env set --both",
}  # fmt: skip


def told(output: str, tmp_path: Path, *, installing: bool, returncode: int = 1) -> str:
    return failing.way_out(output.splitlines(), installing=installing, returncode=returncode, folder=tmp_path) or ""


@pytest.mark.parametrize(("output", "words"), INSTALLS.items())
def test_a_failed_install_is_told_with_its_way_out(tmp_path: Path, output: str, words: str) -> None:
    assert words in told(output, tmp_path, installing=True)


@pytest.mark.parametrize(("output", "words"), BUILDS.items())
def test_a_failed_build_is_told_with_its_way_out(tmp_path: Path, output: str, words: str) -> None:
    assert words in told(output, tmp_path, installing=False)


@pytest.mark.parametrize(
    "output",
    ["ReferenceError: SOME_CONST is not defined", "warn: SENTRY_AUTH_TOKEN is not set, no source maps\nType error: x"],
)
def test_what_is_no_missing_variable_is_not_told_as_one(tmp_path: Path, output: str) -> None:
    assert told(output, tmp_path, installing=False) == ""


def test_a_builds_own_401_is_not_the_registrys(tmp_path: Path) -> None:
    assert told("Error: the API answered 401", tmp_path, installing=False) == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".npmrc", "@acme:registry=https://r/\n//r/:_authToken=${ACME_NPM}\n"),
        (".yarnrc.yml", 'npmScopes:\n  acme:\n    npmAuthToken: "${ACME_NPM:-}"\n'),
    ],
)
def test_the_variable_that_the_registrys_settings_read_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert "deployd env set --build ACME_NPM" in told("npm error code E401", tmp_path, installing=True)
    assert "ACME_NPM" not in told("npm error code ECONNREFUSED", tmp_path, installing=True)


@pytest.mark.parametrize(("code", "words"), [(137, "memory"), (139, "crashed"), (134, "crashed"), (1, "")])
def test_an_exit_code_alone_says_something_too(tmp_path: Path, code: int, words: str) -> None:
    found = told("Compiling ...", tmp_path, installing=False, returncode=code)
    assert words in found
    assert bool(words) == bool(found)


def test_npms_explanation_of_its_own_command_line_is_not_told() -> None:
    shown = failing.telling(['npm warn Unknown user config "nodedir". This will stop.', *NPM_USAGE.splitlines()])
    assert shown is not None
    assert shown.splitlines()[-1] == "npm error Missing: is-odd@3.0.1 from lock file"
    assert "nodedir" not in shown


def test_of_a_lock_file_that_yarn_would_change_the_packages_are_told() -> None:
    about = "The lockfile would have been modified by this install, which is explicitly forbidden."
    lines = ["YN0000: │ @@ -4,15 +4,45 @@", *(f"YN0000: │    version: {n}" for n in range(40))]
    lines += ['YN0028: │ +"is-even@npm:^1.0.0":', "YN0028: │ +  version: 1.0.0", "YN0028: │ +", f"YN0028: │ {about}"]
    lines += ["YN0000: └ Completed", "YN0000: · Failed with errors in 0s 302ms"]
    shown = failing.telling([f"\u27a4 {line}" for line in lines])
    assert shown == f'\u27a4 YN0028: │ +"is-even@npm:^1.0.0":\n\u27a4 YN0028: │ {about}'
    # a package of the repository that wants another version changes none of the others
    shown = failing.telling(['\u27a4 YN0028: │ +    is-odd: "npm:^3.0.0"', f"\u27a4 YN0028: │ {about}"])
    assert shown is not None
    assert "is-odd" in shown
    assert len((failing.telling([f'\u27a4 YN0028: │ +"p{n}@npm:1":' for n in range(99)]) or "").splitlines()) == 30


def test_what_a_build_prints_commands_no_terminal() -> None:
    shown = failing.telling(["\x1b[2J\x1b]0;title\x07Error: \x1b[31mred\x1b[0m\x00", "0 %\r50 %\rend", "x" * 9000])
    assert shown is not None
    assert shown.splitlines()[:2] == ["Error: red", "end"]
    assert len(shown) < 5000
