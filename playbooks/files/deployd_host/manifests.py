"""An enemy's JSON comes in, a Layout goes out in which nothing can leave the release."""

from __future__ import annotations

from deployd_host.documents import Fields
from deployd_host.paths import MAX_ENTRIES, SEEDED_NAMES, SHIM, WRITABLE_NAMES
from deployd_host.replies import RefusedError
from deployd_host.words import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd_host.replies import Json


class File:
    """A regular file of a manifest. `key` is what makes two files one: content, mode and time."""

    __slots__ = ("key", "path", "sha256", "size")

    def __init__(self, path: bytes, mode: int, size: int, sha256: str, mtime: int) -> None:
        self.path = path
        self.size = size
        self.sha256 = sha256
        self.key = (sha256, 0o555 if mode & 0o100 else 0o444, mtime)


class Layout:
    """A checked manifest, ready to be laid out: paths are bytes below the release's folder."""

    __slots__ = (
        "ask_first",
        "assets",
        "document",
        "entry",
        "files",
        "folders",
        "links",
        "public",
        "runtime",
        "seeded",
        "site",
        "writable",
    )

    def __init__(self, manifest: object, *, runtime: str | None) -> None:
        fields = Fields(manifest, code="manifest-invalid")
        fields.whole("v", 1, 1)
        built = fields.whole("built", 0, 1 << 40)
        self.document = fields.value
        self.runtime = runtime
        self.files: list[File] = []
        self.links: dict[bytes, bytes] = {}
        self.folders: set[bytes] = set()
        self._read_entries(fields.get("files"), built=built)
        self.writable = self._folders_of(fields.get("writable"), kinds=WRITABLE_NAMES)
        self.assets = self._folders_of(fields.get("assets"))
        self.public = self._folders_of(fields.get("public"))
        self.seeded = self._folders_of(fields.get("seeded", {}), kinds=SEEDED_NAMES)
        self.ask_first = fields.get("ask_first", False) is True
        static = fields.get("static")
        self.site = None if static is None else Site(static)
        self.entry = b"" if self.site and fields.get("entry") == "" else path_of(fields.get("entry"))
        fields.finish()
        files = {file.path for file in self.files}
        if self.site and (self.entry or self.writable or self.seeded):
            raise invalid("a static site has nothing to run and nothing to write")
        for wanted in self.site.pages() if self.site else (self.entry, SHIM):
            if wanted not in files:
                raise invalid(f"{shown(wanted)} is not among the files")
        self._check_shape(files)
        self._check_links(files)

    def _read_entries(self, entries: object, *, built: int) -> None:
        if not isinstance(entries, list) or not 0 < len(entries) <= MAX_ENTRIES:
            raise invalid(f"'files' is not a list of 1 to {MAX_ENTRIES} entries")
        seen: set[bytes] = set()
        for entry in entries:
            if not isinstance(entry, dict):
                raise invalid("an entry is not an object")
            path = path_of(entry.get("path"))
            if path in seen:
                raise invalid(f"{shown(path)} is there twice")
            if path.split(b"/", 1)[0] == b".deployd" and path != SHIM:
                raise invalid(f"{shown(path)} is in .deployd, which is the host's own")
            seen.add(path)
            if "link" in entry:
                if set(entry) != {"path", "link"}:
                    raise invalid(f"the link {shown(path)} has other fields")
                self.links[path] = bytes_of(entry["link"])
            else:
                self.files.append(file_of(entry, path, built=built))

    def _folders_of(self, value: object, *, kinds: Sequence[str] | None = None) -> dict[str, bytes]:
        """Names or URL prefixes -> folders; no prefix may lie in another, because each becomes a link."""
        if not isinstance(value, dict) or len(value) > 20:
            raise invalid("'writable', 'seeded', 'assets' and 'public' are objects of at most 20 fields")
        found: dict[str, bytes] = {}
        for name, path in value.items():
            if kinds is not None and name not in kinds:
                raise invalid(f"{name!r} is not a writable folder that hosts know")
            if kinds is None and name != "/" and not matches("url prefix", name):
                raise invalid(f"{name!r} is not a URL prefix")
            found[name] = path_of(path)
            if found[name].split(b"/", 1)[0] == b".deployd":
                raise invalid(f"{shown(found[name])} is the host's own")
        if kinds is None:
            for one in found:
                if any(other != one and (one == "/" or other.startswith(one + "/")) for other in found):
                    raise invalid(f"the URL prefix {one!r} holds another one")
        return found

    def _check_shape(self, files: set[bytes]) -> None:
        """Every parent is a folder; a writable place is nothing else; what the web server serves is a folder."""
        leaves = files | set(self.links)
        for path in [*leaves, *self.writable.values()]:
            parent = path.rpartition(b"/")[0]
            while parent and parent not in self.folders:
                self.folders.add(parent)
                parent = parent.rpartition(b"/")[0]
        for path in self.folders & leaves:
            raise invalid(f"{shown(path)} is a file or link, and has something below it")
        for path in self.writable.values():
            if path in self.folders or path in leaves:
                raise invalid(f"the writable folder {shown(path)} is not empty")
        for path in [*self.assets.values(), *self.public.values()]:
            if path in leaves:
                raise invalid(f"{shown(path)} is not a folder")
        for path in [*self.seeded.values(), *([self.site.folder] if self.site else [])]:
            if path not in self.folders:
                raise invalid(f"{shown(path)} is not a folder of the files")

    def _check_links(self, files: set[bytes]) -> None:
        """Follow every link as the kernel would: none may leave the release, not even by way of another link."""
        ends = files | set(self.writable.values())
        for path in self.links:
            if self._escapes(path, ends):
                raise invalid(f"the link {shown(path)} leads out of the release, or in a circle")

    def _escapes(self, path: bytes, ends: set[bytes]) -> bool:
        here: list[bytes] = path.split(b"/")[:-1]
        todo = self.links[path].split(b"/")[::-1]
        followed = 0
        if self.links[path].startswith(b"/"):
            return True
        while todo:
            part = todo.pop()
            if part in {b"", b"."}:
                continue
            now = b"/".join(here)
            if part == b"..":
                if not here or now in ends:
                    return True
                here.pop()
                continue
            if now in ends and now not in self.folders and now:
                continue  # below a file: dangling; below a writable folder: not ours
            here.append(part)
            now = b"/".join(here)
            if here[0] == b".deployd":
                return True
            target = self.links.get(now)
            if target is not None:
                followed += 1
                if followed > 40 or target.startswith(b"/"):
                    return True
                here.pop()
                todo += target.split(b"/")[::-1]
        return False

    def contents(self) -> dict[str, int]:
        """Every content with its size."""
        return {file.sha256: file.size for file in self.files}


class Site:
    """How the web server answers for a site without a process: its folder, and the pages for what is not there."""

    __slots__ = ("fallback", "folder", "not_found", "trailing_slash")

    def __init__(self, value: object) -> None:
        fields = Fields(value, code="manifest-invalid")
        self.folder = path_of(fields.get("folder"))
        if self.folder.split(b"/", 1)[0] == b".deployd":
            raise invalid(f"{shown(self.folder)} is the host's own")
        self.trailing_slash = fields.get("trailing_slash", False)
        if not isinstance(self.trailing_slash, bool):
            raise invalid("'trailing_slash' is neither true nor false")
        self.not_found = self._page(fields.get("not_found"))
        self.fallback = self._page(fields.get("fallback"))
        fields.finish()

    def _page(self, value: object) -> bytes | None:
        return None if value is None else self.folder + b"/" + path_of(value)

    def pages(self) -> list[bytes]:
        """The files that it names, with their paths in the release."""
        return [path for path in (self.not_found, self.fallback) if path is not None]


def invalid(what: str) -> RefusedError:
    """The refusal of a manifest."""
    return RefusedError(
        "manifest-invalid",
        f"the manifest is not valid: {what}",
        fix="package the app again with this version of deployd",
    )


def shown(path: bytes) -> str:
    """A path for people."""
    return repr(path.decode(errors="backslashreplace"))


def bytes_of(value: object) -> bytes:
    """A path's bytes: text, or `{"bytes": BASE64}` when it is not UTF-8."""
    if isinstance(value, str):
        try:
            path = value.encode()
        except UnicodeEncodeError as error:
            raise invalid("a path is not UTF-8; it must come as bytes") from error
    elif isinstance(value, dict) and set(value) == {"bytes"} and isinstance(value["bytes"], str):
        import base64

        try:
            path = base64.b64decode(value["bytes"], validate=True)
        except ValueError as error:
            raise invalid("a path's bytes are not base64") from error
    else:
        raise invalid("a path is neither text nor bytes")
    if not path or b"\0" in path or len(path) > 3000:
        raise invalid(f"a path of {len(path)} bytes, or with a NUL")
    return path


def path_of(value: object) -> bytes:
    """A path that stays below the release's folder."""
    path = bytes_of(value)
    for part in path.split(b"/"):
        if part in {b"", b".", b".."} or len(part) > 255:
            raise invalid(f"the path {shown(path)} is absolute, has an empty part, '.' or '..', or too long a name")
    return path


def file_of(entry: Json, path: bytes, *, built: int) -> File:
    """A file's entry."""
    mode, size, sha256, source = (entry.get(name) for name in ("mode", "size", "sha256", "time"))
    if set(entry) - {"path", "mode", "size", "sha256", "time"} or source not in {None, "content", "build"}:
        raise invalid(f"the entry of {shown(path)} has fields that are not known")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 40:
        raise invalid(f"the size of {shown(path)} is not a number")
    if mode not in {0o644, 0o755} or not matches("sha256", sha256):
        raise invalid(f"the mode or the sha256 of {shown(path)} is not valid")
    digest = str(sha256)
    mtime = built if source == "build" else 1_000_000_000 + int(digest[:8], 16) % 100_000_000
    return File(path, int(mode), size, digest, mtime)
