"""A manifest, the kept releases' files and what arrived come in; a release goes out, root's and for ever."""

from __future__ import annotations

import os
import time

from deployd_host.copying import copy_checked
from deployd_host.documents import Fields
from deployd_host.files import read_json, remove_tree, sync_all, sync_folder, to_json
from deployd_host.incoming import known_files
from deployd_host.manifests import Layout, file_of, path_of, shown
from deployd_host.paths import BASE, CACHES, MANY_TO_SYNC
from deployd_host.replies import RefusedError, bad_request
from deployd_host.union import add_to_union
from deployd_host.words import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.calls import Call
    from deployd_host.manifests import File, Site
    from deployd_host.places import Place
    from deployd_host.replies import Json


def verb_seal(call: Call) -> Json:
    """Make the release of its manifest, the kept releases' files and what arrived. Every file of it is root's."""
    started = time.monotonic()
    place, release = call.place, call.release
    fields = Fields(call.document)
    provenance = fields.get("provenance")
    fields.finish()
    if not isinstance(provenance, dict):
        raise bad_request("'provenance' is not an object")
    with place.locked("files"):
        already = place.is_sealed(release)
        if already:
            layout = _sealed_layout(place, release)
            counts = {"files": len(layout.files), "linked": 0, "copied": 0, "bytes": 0}
        else:
            begun = read_json(f"{place.begun}/{release}.json")
            if not isinstance(begun, dict):
                raise RefusedError(
                    "not-begun", f"release {release} was not begun on this host", fix="release the commit again"
                )
            layout = Layout(begun["manifest"], runtime=begun["runtime"])
            counts = _seal(place, release, layout, provenance)
        add_to_union(place, release, layout)
        remove_tree(place.incoming(release))
        remove_tree(f"{place.begun}/{release}.json")
    return {"sealed": True, "already": already, **counts, "seconds": round(time.monotonic() - started, 4)}


def _sealed_layout(place: Place, release: str) -> Layout:
    folder = place.release(release) + "/.deployd"
    return Layout(read_json(folder + "/manifest.json"), runtime=read_json(folder + "/sealed.json")["runtime"])


def _seal(place: Place, release: str, layout: Layout, provenance: Json) -> dict[str, int]:
    if not layout.site and not os.path.exists(f"{BASE}/runtimes/{layout.runtime}/bin/node"):
        raise RefusedError(
            "runtime-missing", f"the runtime {layout.runtime} is not on this host", fix="release the commit again"
        )
    aside = f"{place.releases}/.sealing-{release}"
    remove_tree(aside)
    os.mkdir(aside, 0o755)
    try:
        filler = Filler(place, release, aside, layout)
        filler.fill()
        filler.write_own(provenance)
        filler.sync()
        os.rename(aside, place.release(release))
        sync_folder(place.releases)
    except BaseException:
        remove_tree(aside)
        raise
    return filler.counts


class Filler:
    """Lays a release out in a folder aside."""

    __slots__ = ("aside", "counts", "incoming", "known", "layout", "made", "own_folders", "place", "release", "to_sync")

    def __init__(self, place: Place, release: str, aside: str, layout: Layout) -> None:
        self.place = place
        self.release = release
        self.aside = os.fsencode(aside)
        self.layout = layout
        self.incoming = -1
        self.known: dict[tuple[str, int, int], bytes] = {}
        self.made: dict[str, bytes] = {}
        self.to_sync: list[bytes] = []
        self.own_folders: list[bytes] = []
        self.counts = {"files": len(layout.files), "linked": 0, "copied": 0, "bytes": 0}

    def fill(self) -> None:
        """Make folders, files and links."""
        for folder in sorted(self.layout.folders):
            os.mkdir(self.aside + b"/" + folder, 0o755)
        self._look_around()
        try:
            self.incoming = os.open(self.place.incoming(self.release), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            self.incoming = -1  # nothing had to travel
        try:
            for file in self.layout.files:
                self._put(file)
        finally:
            if self.incoming >= 0:
                os.close(self.incoming)
        for path, target in self.layout.links.items():
            os.symlink(target, self.aside + b"/" + path)
        for name, path in self.layout.writable.items():
            target_text = f"{CACHES[0]}/{self.place.name}/{self.release}/{name}"
            os.symlink(os.fsencode(target_text), self.aside + b"/" + path)

    def _look_around(self) -> None:
        """Find the files of the kept releases that can be linked, and the contents that can be copied."""
        keys = {file.key for file in self.layout.files}
        contents = {file.sha256 for file in self.layout.files}
        for release, entry, built in known_files(self.place, without=self.release):
            if entry["sha256"] not in contents:
                continue
            file = file_of(entry, path_of(entry["path"]), built=built)
            path = os.fsencode(self.place.release(release)) + b"/" + file.path
            self.made.setdefault(file.sha256, path)
            if file.key in keys:
                self.known[file.key] = path
                keys.discard(file.key)
                if not keys:
                    break

    def _put(self, file: File) -> None:
        to = self.aside + b"/" + file.path
        source = self.known.get(file.key)
        if source is not None and self._link(source, to, file):
            self.counts["linked"] += 1
            return
        source = self.made.get(file.sha256)
        if source is not None and copy_checked(source, to, file, parent=None):
            self.counts["copied"] += 1
        elif self.incoming >= 0 and copy_checked(file.sha256.encode(), to, file, parent=self.incoming):
            self.counts["bytes"] += file.size
        else:
            raise RefusedError(
                "file-missing",
                f"the content of {shown(file.path)} did not arrive",
                fix="release again: the transfer goes on where it broke",
                details={"sha256": file.sha256},
            )
        self.to_sync.append(to)
        self.known[file.key] = to
        self.made[file.sha256] = to

    def _link(self, source: bytes, to: bytes, file: File) -> bool:
        """Hard-link a sealed file, if it is still as it was sealed."""
        try:
            found = os.lstat(source)
            if (
                found.st_size != file.size
                or (found.st_mode & 0o7777, int(found.st_mtime)) != file.key[1:]
                or found.st_uid != os.geteuid()
            ):
                return False
            os.link(source, to, follow_symlinks=False)
        except OSError:  # removed meanwhile, or it has as many links as the file system can have
            return False
        return True

    def write_own(self, provenance: Json) -> None:
        """Add what the host itself puts into a release, in `.deployd`."""
        layout = self.layout
        own = os.fsdecode(self.aside) + "/.deployd"
        sealed = {
            "sealed_at": time.time(),
            "files": len(layout.files),
            "bytes": sum(file.size for file in layout.files),
            "commit": provenance.get("commit"),
            "runtime": None if layout.site else layout.runtime,
        }
        os.makedirs(own, 0o755, exist_ok=True)
        for name, text in (
            ("manifest.json", to_json(layout.document)),
            ("provenance.json", to_json(provenance)),
            ("sealed.json", to_json(sealed)),
            ("id", self.release),
            *([("dpl", provenance["build_id"])] if matches("deployment", provenance.get("build_id")) else []),
            *([("ask-first", "")] if layout.ask_first else []),
        ):
            fd = os.open(f"{own}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o444)
            with open(fd, "wb") as file:
                file.write(text.encode())
            self.to_sync.append(os.fsencode(f"{own}/{name}"))
        if layout.site:
            self._write_site(os.fsencode(own + "/static"), layout.site)
        else:
            os.symlink(b"../" + layout.entry, os.fsencode(own + "/entry"))
            os.symlink(f"{BASE}/runtimes/{layout.runtime}/bin/node", own + "/node")
        for name, path in layout.seeded.items():
            os.makedirs(own + "/seeded", 0o755, exist_ok=True)
            os.symlink(b"../../" + path, os.fsencode(f"{own}/seeded/{name}"))
        # An app with headers of its own on its assets is asked for them; other releases' are in the union all the same.
        for name, folders in (("www", {} if layout.ask_first else layout.assets), ("public", layout.public)):
            for prefix, folder in folders.items():
                _link_folder(own, name, prefix, folder)
        self.own_folders = [os.fsencode(at) for at, _, _ in os.walk(own)]

    def _write_site(self, own: bytes, site: Site) -> None:
        """What the web server looks at to answer as this site does; its own configuration never changes."""
        os.mkdir(own, 0o755)
        os.symlink(b"../../" + site.folder, own + b"/site")
        if site.trailing_slash:
            os.close(os.open(own + b"/slash", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444))
        paths = {file.path for file in self.layout.files}
        for name, path in ((b"404.html", site.not_found), (b"fallback.html", site.fallback)):
            for suffix in (b"", b".br", b".zst", b".gz"):
                if path is not None and path + suffix in paths:
                    os.symlink(b"../../" + path + suffix, own + b"/" + name + suffix)

    def sync(self) -> None:
        """Make all of it last before it gets its name."""
        folders = [self.aside, *(self.aside + b"/" + folder for folder in self.layout.folders), *self.own_folders]
        if len(self.to_sync) + len(folders) > MANY_TO_SYNC:
            sync_all(self.aside)
            return
        for path in self.to_sync + folders:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def _link_folder(own: str, name: str, prefix: str, folder: bytes) -> None:
    """`/_next/static` -> `.deployd/www/_next/static`, a relative link to the folder; `/` is the link itself."""
    parts = [name, *prefix.strip("/").split("/")] if prefix != "/" else [name]
    at = own + "/" + "/".join(parts)
    os.makedirs(os.path.dirname(at), 0o755, exist_ok=True)
    os.symlink(b"../" * len(parts) + folder, os.fsencode(at))
