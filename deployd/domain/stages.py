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

    `dirty` takes the working tree of a local repository as it is.
    """

    repository: str
    ref: str = "HEAD"
    subdir: str = ""
    dirty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """A clean checkout. `root` is the repository's top, `app_dir` the app's folder; `tree_hash` names the content."""

    root: str
    app_dir: str
    tree_hash: str
    commit: str | None
    branch: str | None
    ref: str
    subject: str | None
    author: str | None
    dirty: bool


PackageManager = Literal["npm", "pnpm", "yarn", "bun"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """What will be built and how, known before the build: framework, package manager, Node.js, build id.

    `framework` is the name of a module's finding: nextjs, nuxt, astro, sveltekit, react-router, node, static.
    `environment` says whose cache the build uses: what one environment fetched is not for another.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOutput:
    """What the app's own build left. `built` is its end, in whole seconds since the epoch; `log` its kept output.

    `kind` says how its files are found: `next` (Next.js's own server, from its standalone tree or assembled from its
    traces), `node` (any other server, traced from `entries`; the first one is what Node.js runs), `static` (no server:
    the files of `folder`). `folder` is what the build wrote, relative to `app_dir`: `.next` or another distDir,
    `.output`, `dist`, `out`. `entries` are relative to `app_dir` too. `static` says how a site without one answers.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedFile:
    """One file that the server needs. `path` is its place in the artifact, `source` the file on this machine."""

    path: str
    source: str
    size: int
    symlink: str | None = None
    time: Literal["content", "build"] = "content"
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSet:
    """The closed set of files that the server needs, sorted by path, and how they are run and served.

    `writable`, `seeded`, `assets`, `public` and `static` are as in `Manifest`; `entry` is "" for a static site.
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
