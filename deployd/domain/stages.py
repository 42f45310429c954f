"""The values that pass from stage to stage, on this machine, before anything travels. Paths are absolute text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.domain.artifact import StaticSite
    from deployd.domain.ids import BuildId


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRequest:
    """What to build: `repository` is a URL or a local path, `subdir` the app's folder in it ("" for the root).

    `dirty` takes the working tree of a local repository as it is. `branch` is what a commit in `ref` was pushed to, or
    `pull/12`: a pull request's commit is on no branch, and a commit may be the head of several.
    """

    repository: str
    ref: str = "HEAD"
    subdir: str = ""
    dirty: bool = False
    branch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """A clean checkout. `root` is the repository's top, `app_dir` the app's folder; `tree_hash` names the content.

    `built_hash` names it without any deployd.toml, whose keys count one by one for a build; "" where that is not known.
    """

    root: str
    app_dir: str
    tree_hash: str
    commit: str | None
    branch: str | None
    ref: str
    subject: str | None
    author: str | None
    dirty: bool
    built_hash: str = ""


PackageManager = Literal["npm", "pnpm", "yarn", "bun"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """What will be built and how, known before the build: framework, package manager, Node.js, build id.

    `framework` is the name of a module's finding: nextjs, nuxt, astro, sveltekit, react-router, node, static.
    `environment` says whose cache the build uses: what one environment fetched is not for another.
    `install` and `command` are empty when there is nothing to install or to build; `lockfile` and `lockfile_sha256` are
    "" then. `output` and `entry` are what deployd.toml says, relative to the app's folder. `trace_root` is the absolute
    folder that traced files are taken from (the lock file's folder: a workspace's root); "" means the app's folder.
    `cpu` is the hosts' where it is not this machine's: their optional packages are installed and travel too.
    `before` is the command line that runs once on a host before the release does; what it needs travels.
    `asset_prefix` is the address before `/_next/static` that Next.js's pages are to ask at; "" is the app's own.
    """

    framework: str
    framework_version: str | None
    manager: PackageManager
    manager_version: str | None
    install: tuple[str, ...]
    command: tuple[str, ...]
    node: str
    lockfile: str
    lockfile_sha256: str
    build_id: BuildId
    environment: str = ""
    output: str | None = None
    entry: str | None = None
    trace_root: str = ""
    cpu: str = ""
    before: str = ""
    asset_prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOutput:
    """What the app's own build left. `built` is its end, in whole seconds since the epoch; `log` its kept output.

    `kind` says how its files are found: `next` (Next.js's own server, from its standalone tree or assembled from its
    traces), `node` (any other server, traced from `entries`; the first one is what Node.js runs), `static` (no server:
    the files of `folder`). `folder` is what the build wrote, relative to `app_dir`: `.next` or another distDir,
    `.output`, `dist`, `out`. `entries` are relative to `app_dir` too; for `next`, there is one only where the start
    script sets or loads something first: it hands over to Next.js's server.js. `static` says how a site without one
    answers.

    For `node`, all of `folder` travels besides what is traced from `entries` ("" when there is no such folder): servers
    read pages and client files there that no import names. A Next.js app with a server of its own has the kind `node`
    and the plan's framework `nextjs`: `folder` is its distDir, of which `cache` and `standalone` stay behind, and its
    `*.nft.json` files name what its pages need. For `static`, `folder` "." is the app's folder itself: what has a name
    that begins with a dot (but `.well-known`), node_modules, deployd.toml and package files stay behind; `base` is the
    URL path below which the pages were built to lie ("" or `docs`): they go into that folder of the artifact's site.
    `include` are more files and folders that travel whole (`public`, `views`), relative to `app_dir`.
    `assets` maps a URL prefix to a folder (relative to `app_dir`) of files whose names hold a hash of their content.
    """

    root: str
    app_dir: str
    plan: BuildPlan
    built: int
    log: str
    seconds: float
    kind: Literal["next", "node", "static"] = "next"
    folder: str = ".next"
    entries: tuple[str, ...] = ()
    static: StaticSite | None = None
    include: tuple[str, ...] = ()
    base: str = ""
    assets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedFile:
    """One file that the server needs. `path` is its place in the artifact, `source` the file on this machine.

    `reasons` are for people: "imported by server.js". `parents` are the paths of the files that name it, where an
    analysis of the code found it.
    """

    path: str
    source: str
    size: int
    symlink: str | None = None
    time: Literal["content", "build"] = "content"
    reasons: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSet:
    """The closed set of files that the server needs, sorted by path, and how they are run and served.

    `root` is the folder that paths are relative to, as they lie in the source; a file that was made for the artifact
    (a server.js) has only its `source`. `writable`, `seeded`, `assets`, `public`, `static` and `ask_first` are as in
    `Manifest`; `entry` is "" for a static site.
    """

    root: str
    entry: str
    files: tuple[TracedFile, ...]
    writable: Mapping[str, str] = field(default_factory=dict)
    assets: Mapping[str, str] = field(default_factory=dict)
    public: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seeded: Mapping[str, str] = field(default_factory=dict)
    static: StaticSite | None = None
    ask_first: bool = False
