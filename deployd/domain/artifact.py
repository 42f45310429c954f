"""What travels: manifest, artifact, runtime, provenance. Paths are POSIX, relative, as `bytes` decoded with
surrogateescape, so that any file name survives; JSON gives one that is not UTF-8 as `{"bytes": BASE64}`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from deployd.domain.ids import ArtifactName, RuntimeName

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1


def path_to_json(path: str) -> str | dict[str, str]:
    """A path for JSON: text, or `{"bytes": BASE64}` when it is not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return {"bytes": base64.b64encode(path.encode(errors="surrogateescape")).decode()}
    return path


def path_from_json(value: str | Mapping[str, str]) -> str:
    """The reverse of `path_to_json`."""
    if isinstance(value, str):
        return value
    return base64.b64decode(value["bytes"]).decode(errors="surrogateescape")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A regular file. `mode` is 0o644 or 0o755. `time` says what its mtime is made from: its content, or the build."""

    path: str
    mode: int
    size: int
    sha256: str
    time: Literal["content", "build"] = "content"

    def to_json(self) -> dict[str, Any]:
        """As in the manifest."""
        entry: dict[str, Any] = {
            "path": path_to_json(self.path),
            "mode": self.mode,
            "size": self.size,
            "sha256": self.sha256,
        }
        return entry | ({"time": "build"} if self.time == "build" else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEntry:
    """A symbolic link whose target stays inside the artifact."""

    path: str
    target: str

    def to_json(self) -> dict[str, Any]:
        """As in the manifest."""
        return {"path": path_to_json(self.path), "link": path_to_json(self.target)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticSite:
    """How the web server answers for a site without a process. `folder` is its root in the artifact.

    `/about` is `about.html` or `about/index.html`; with `trailing_slash`, `/about` is redirected to `/about/`.
    `not_found` is the file of the 404 answer; `fallback` answers unknown paths with 200 (a single-page app).
    """

    folder: str
    trailing_slash: bool = False
    not_found: str | None = None
    fallback: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As in the manifest."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All that is in an artifact, sorted by path.

    `entry` is the file that Node.js runs. `writable` maps a name (`cache`, `route-cache`) to the folder that the
    server writes at run time; the host puts a link to a writable place there. `assets` maps a URL prefix
    (`/_next/static`) to the folder of content-hashed files that the web server serves and keeps over releases;
    `public` maps a URL prefix (`/`) to a folder it serves from the current release only, and is empty when the
    app must answer for those itself (middleware, custom headers). `seeded` maps a name to a folder of files that are
    written over at run time (Next.js 13 and 14 regenerate pages there): the host gives each release a writable copy.
    `static` is set, and `entry` is "", for a site without a process. With `ask_first` the app sets headers of its own
    on its assets: the web server asks it for them, and itself serves only what the app does not know (another
    release's). `built` is the build's time in whole seconds since the epoch; it is not part of the name.
    """

    entry: str
    files: tuple[FileEntry | LinkEntry, ...]
    writable: Mapping[str, str] = field(default_factory=dict)
    assets: Mapping[str, str] = field(default_factory=dict)
    public: Mapping[str, str] = field(default_factory=dict)
    built: int = 0
    seeded: Mapping[str, str] = field(default_factory=dict)
    static: StaticSite | None = None
    ask_first: bool = False

    @property
    def name(self) -> ArtifactName:
        """The artifact's name: a hash of everything but `built`."""
        body = {key: value for key, value in self.to_json().items() if key != "built"}
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        return ArtifactName.parse("a" + hashlib.sha256(text.encode()).hexdigest()[:32])

    @property
    def size(self) -> int:
        """Bytes of all regular files."""
        return sum(entry.size for entry in self.files if isinstance(entry, FileEntry))

    def to_json(self) -> dict[str, Any]:
        """The manifest's stored form."""
        return {
            "v": FORMAT,
            "entry": path_to_json(self.entry),
            "files": [entry.to_json() for entry in self.files],
            "writable": dict(self.writable),
            "assets": dict(self.assets),
            "public": dict(self.public),
            "built": self.built,
            **({"seeded": dict(self.seeded)} if self.seeded else {}),
            **({"static": self.static.to_json()} if self.static else {}),
            **({"ask_first": True} if self.ask_first else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Manifest:
        """Read what `to_json` wrote; raises ValueError for another format."""
        if data.get("v") != FORMAT:
            msg = f"this manifest has format {data.get('v')!r}; this deployd reads format {FORMAT}"
            raise ValueError(msg)
        return cls(
            entry=path_from_json(data["entry"]),
            files=tuple(_entry_from_json(entry) for entry in data["files"]),
            writable=dict(data["writable"]),
            assets=dict(data["assets"]),
            public=dict(data["public"]),
            built=int(data["built"]),
            seeded=dict(data.get("seeded", {})),
            static=StaticSite(**data["static"]) if data.get("static") else None,
            ask_first=bool(data.get("ask_first", False)),
        )


def _entry_from_json(data: Mapping[str, Any]) -> FileEntry | LinkEntry:
    path = path_from_json(data["path"])
    if "link" in data:
        return LinkEntry(path=path, target=path_from_json(data["link"]))
    return FileEntry(
        path=path,
        mode=int(data["mode"]),
        size=int(data["size"]),
        sha256=data["sha256"],
        time=data.get("time", "content"),
    )


def content_time(sha256: str) -> int:
    """The mtime of a file, made from its content's hash: whole seconds between 2001 and 2004.

    Equal content has equal times on every host, so the web server's ETag (made of time and size) is stable.
    """
    return 1_000_000_000 + int(sha256[:8], 16) % 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A packaged artifact in deployd's own store. `manifest_path` is its JSON file."""

    name: ArtifactName
    manifest_path: str
    files: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """How an artifact was made, as far as its file says: the build's id, framework, Node.js version and lock file."""

    build_id: str | None = None
    framework: str | None = None
    node: str | None = None
    lockfile_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A pinned Node.js binary on this machine: `path` is the `node` file, checked against `sha256`."""

    name: RuntimeName
    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a release comes from; goes with it to the hosts. `dirty` means the tree was not a commit's."""

    app: str
    environment: str
    release: str
    artifact: str
    build_id: str
    runtime: str
    commit: str | None
    branch: str | None
    ref: str | None
    dirty: bool
    subject: str | None
    author: str | None
    who: str
    message: str | None
    created: str
    node: str
    lockfile_sha256: str | None
    framework: str
    deployd: str
