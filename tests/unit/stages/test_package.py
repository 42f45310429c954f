"""Manifests, objects and exported artifacts: the same content gives the same name, and nothing bad comes in."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployd.domain.artifact import Artifact, FileEntry, LinkEntry, Making, Manifest
from deployd.domain.ids import ArtifactName
from deployd.domain.stages import FileSet, TracedFile
from deployd.errors import NotFoundError, PackageError
from deployd.stages import package
from deployd.stages.package import layout

if TYPE_CHECKING:
    from pathlib import Path

SHA = "ab" * 32


def files(folder: Path, **contents: str) -> FileSet:
    """A file set of real files; a name of `x__y` stands at `x/y`."""
    folder.mkdir(parents=True, exist_ok=True)
    traced = []
    for name, text in {"server.js": "serve", **contents}.items():
        (folder / name).write_text(text)
        traced.append(TracedFile(path=name.replace("__", "/"), source=str(folder / name), size=len(text)))
    traced.sort(key=lambda file: file.path)
    return FileSet(root=str(folder), entry="server.js", files=tuple(traced))


def made(tmp_path: Path, *, built: int = 1, **contents: str) -> Artifact:
    return package.package(files(tmp_path / "tree", **contents), built=built, artifacts=tmp_path / "artifacts")


def objects(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "artifacts" / "objects").glob("*/*")}


# Packaging


def test_equal_content_is_one_object_and_one_name(tmp_path: Path) -> None:
    first = made(tmp_path, a="same", b="same")
    assert len(objects(tmp_path)) == 3  # the server, the shim, and what is the same
    os.utime(tmp_path / "tree" / "a", (1, 1))
    second = made(tmp_path, built=2, a="same", b="same")
    assert second == first
    assert made(tmp_path, a="same", b="other").name != first.name
    manifest = package.load(tmp_path / "artifacts", first.name)
    assert manifest.built == 1  # the first build's, which its files were made at
    assert manifest.name == first.name
    assert (first.files, first.size) == (4, manifest.size)


def test_the_shim_travels_in_every_artifact(tmp_path: Path) -> None:
    manifest = package.load(tmp_path / "artifacts", made(tmp_path).name)
    (shim,) = [entry for entry in manifest.files if entry.path == ".deployd/listen.cjs"]
    assert isinstance(shim, FileEntry)
    assert shim.mode == 0o644
    assert b"LISTEN_FDS" in (tmp_path / "artifacts/objects" / shim.sha256[:2] / shim.sha256).read_bytes()


def test_modes_are_told_by_the_x_bit_alone_and_links_stay_links(tmp_path: Path) -> None:
    found = files(tmp_path / "tree", tool="#!", page="p")
    (tmp_path / "tree" / "tool").chmod(0o710)
    (tmp_path / "tree" / "page").chmod(0o600)
    link = TracedFile(path="link", source=str(tmp_path / "none"), size=0, symlink="page")
    found = replace(found, files=tuple(sorted((*found.files, link), key=lambda file: file.path)))
    artifact = package.package(found, built=1, artifacts=tmp_path / "artifacts")
    entries = {entry.path: entry for entry in package.load(tmp_path / "artifacts", artifact.name).files}
    assert [entries[name].mode for name in ("tool", "page")] == [0o755, 0o644]  # type: ignore[union-attr]
    assert entries["link"] == LinkEntry(path="link", target="page")


def test_names_of_every_kind_survive(tmp_path: Path) -> None:
    name = os.fsdecode(b"b\xff\xfe ' $(x)\n")
    artifact = made(tmp_path, **{name: "odd"})
    assert name in {entry.path for entry in package.load(tmp_path / "artifacts", artifact.name).files}


def test_an_object_cut_short_by_a_crash_is_written_again(tmp_path: Path) -> None:
    artifact = made(tmp_path, page="content")
    for path in (tmp_path / "artifacts" / "objects").glob("*/*"):
        path.chmod(0o644)
        path.write_bytes(b"")
    made(tmp_path, page="content")
    assert package.load(tmp_path / "artifacts", artifact.name).size == sum(
        path.stat().st_size for path in (tmp_path / "artifacts" / "objects").glob("*/*")
    )


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    found = files(tmp_path / "tree", page="x")
    (tmp_path / "tree" / "page").unlink()
    with pytest.raises(PackageError, match="page"):
        package.package(found, built=1, artifacts=tmp_path / "artifacts")
    assert not (tmp_path / "artifacts" / "manifests").exists()


def test_a_large_file_is_stored_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployd.stages.package.objects._WHOLE", 10)
    artifact = made(tmp_path, large="0123456789" * 1000)
    assert artifact.size > 10_000
    assert made(tmp_path, large="0123456789" * 1000).name == artifact.name


def test_many_packages_at_once(tmp_path: Path) -> None:
    found = files(tmp_path / "tree", **{f"f{n}": str(n % 7) for n in range(50)})
    names: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: names.append(package.package(found, built=1, artifacts=tmp_path / "artifacts").name)
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == 6
    assert len(set(names)) == 1
    assert all(len(name) == 64 for name in objects(tmp_path))


def test_an_unknown_artifact_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        package.load(tmp_path, ArtifactName.parse("a" + "0" * 32))
    assert caught.value.code == "artifact-missing"


def test_collecting_keeps_what_is_named_and_what_is_new(tmp_path: Path) -> None:
    kept, dropped = made(tmp_path, a="kept", both="both"), made(tmp_path, b="dropped", both="both")
    artifacts = tmp_path / "artifacts"
    assert package.collect(artifacts, keep={kept.name}) == 0  # young objects stay
    assert package.collect(artifacts, keep={kept.name}, grace=0) == len("dropped")
    assert package.load(artifacts, kept.name).name == kept.name
    with pytest.raises(NotFoundError):
        package.load(artifacts, dropped.name)
    wanted = {entry.sha256 for entry in package.load(artifacts, kept.name).files if isinstance(entry, FileEntry)}
    assert objects(tmp_path) == wanted


# The layout


def manifest(*entries: FileEntry | LinkEntry, **more: Any) -> Manifest:
    return Manifest(entry="server.js", files=(file("server.js"), *entries), **more)


def file(path: str, **changes: Any) -> FileEntry:
    return FileEntry(**({"path": path, "mode": 0o644, "size": 1, "sha256": SHA} | changes))


def test_a_right_layout_passes() -> None:
    layout.check(
        manifest(
            file(".deployd/listen.cjs"), file("public/a b"), file(".next/static/x.js"),
            LinkEntry(path="node_modules/x", target=".pnpm/x/../y"),
            writable={"cache": ".next/cache"}, assets={"/docs/_next/static": ".next/static"}, public={"/": "public"},
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        manifest(file("../x")), manifest(file("/etc/x")), manifest(file("a//b")), manifest(file("a/./b")),
        manifest(file("")), manifest(file("a\0b")), manifest(file(".deployd/id")), manifest(file(".deployd/node")),
        manifest(file("a"), file("a")), manifest(file("a"), file("a/b")),
        manifest(LinkEntry(path="l", target="x"), file("l/b")),
        manifest(LinkEntry(path="l", target="../x")), manifest(LinkEntry(path="l", target="/x")),
        manifest(LinkEntry(path="a/l", target="../../x")), manifest(LinkEntry(path="l", target="")),
        manifest(LinkEntry(path="l", target="a\0")), manifest(file("x", sha256="../../x")), manifest(file("x", sha256=SHA[:-1])),
        manifest(file("x", mode=0o4755)), manifest(file("x", size=-1)), Manifest(entry="gone", files=(file("server.js"),)),
        manifest(writable={"cache": "../x"}), manifest(writable={"../x": "c"}), manifest(file("c"), writable={"cache": "c"}),
        manifest(file("c/d"), writable={"cache": "c"}),
        manifest(assets={"/x": "gone"}), manifest(file("p/x"), public={"/a b": "p"}),
        manifest(file("p/x"), public={"/../x": "p"}), manifest(file("p/x"), public={"p": "p"}),
    ],
)  # fmt: skip
def test_a_wrong_layout_is_refused(wrong: Manifest) -> None:
    with pytest.raises(PackageError) as caught:
        layout.check(wrong)
    assert caught.value.code == "artifact-invalid"


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b"]), min_size=1, max_size=8), st.integers(0, 3))
def test_no_link_that_passes_leaves_the_artifact(parts: list[str], depth: int) -> None:
    folder, target = "/".join(["/top", *["d"] * depth]), "/".join(parts)
    place = f"{folder}/l".removeprefix("/top/")
    escapes = target.startswith("/") or not target
    for n in range(len(parts)):  # neither at its end nor on the way
        way = "/".join(parts[: n + 1])
        escapes |= not f"{os.path.normpath(f'{folder}/{way}')}/".startswith("/top/")
    if escapes:
        with pytest.raises(PackageError):
            layout.check(manifest(LinkEntry(path=place, target=target)))
    else:
        layout.check(manifest(LinkEntry(path=place, target=target)))


# Export and import


def test_an_export_comes_back_the_same(tmp_path: Path) -> None:
    artifact = made(tmp_path, page="content", other="content")
    one, two = tmp_path / "one.tar.gz", tmp_path / "two.tar.gz"
    assert package.export(tmp_path / "artifacts", artifact.name, to=one) == one.stat().st_size
    package.export(tmp_path / "artifacts", artifact.name, to=two)
    assert one.read_bytes() == two.read_bytes()
    for _ in range(2):
        imported, making = package.import_(one, artifacts=tmp_path / "elsewhere")
        assert imported.name == artifact.name
        assert making == Making()
    assert package.load(tmp_path / "elsewhere", artifact.name) == package.load(tmp_path / "artifacts", artifact.name)


def test_an_export_says_how_it_was_made(tmp_path: Path) -> None:
    artifact = made(tmp_path, page="content")
    making = Making(build_id="b" + "0" * 20, framework="nextjs", node="22.22.3", lockfile_sha256="a" * 64)
    package.export(tmp_path / "artifacts", artifact.name, to=tmp_path / "one.tar.gz", making=making)
    assert package.import_(tmp_path / "one.tar.gz", artifacts=tmp_path / "elsewhere")[1] == making
    odd = Making(build_id="../x", framework="nextjs", node="22; rm", lockfile_sha256=None)
    package.export(tmp_path / "artifacts", artifact.name, to=tmp_path / "two.tar.gz", making=odd)
    assert package.import_(tmp_path / "two.tar.gz", artifacts=tmp_path / "elsewhere")[1] == Making(framework="nextjs")


def archive(path: Path, *members: tuple[tarfile.TarInfo | str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as out:
        for name, content in members:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    return path


def _link(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return member


def _manifest(**changes: Any) -> bytes:
    return json.dumps(manifest(file("x", sha256=SHA)).to_json() | changes).encode()


@pytest.mark.parametrize(
    "members",
    [
        [("../evil", b"x")], [("/etc/evil", b"x")], [(_link("manifest.json"), b"")], [(_link(f"objects/{SHA}"), b"")],
        [("objects/../../x", b"x")], [(f"objects/{SHA}", b"of another content")], [("manifest.json", b"{")],
        [("manifest.json", b"[]")], [("manifest.json", b'{"v": 99}')], [("manifest.json", b'{"v": 1}')],
        [("manifest.json", _manifest())], [("manifest.json", _manifest(files=[{"path": "../x", "link": "y"}]))], [],
        [("manifest.json", _manifest(files=[{"path": "server.js", "mode": 420, "size": 1, "sha256": "../../../x"}]))],
        [("manifest.json", _manifest(files=[1]))],
    ],
)  # fmt: skip
def test_what_is_no_artifact_is_refused(tmp_path: Path, members: list[Any]) -> None:
    path = archive(tmp_path / "evil.tar.gz", *members)
    with pytest.raises(PackageError) as caught:
        package.import_(path, artifacts=tmp_path / "artifacts")
    assert caught.value.code == "artifact-invalid"
    assert not list((tmp_path / "artifacts").rglob("*.json"))
    assert {path.name for path in tmp_path.iterdir()} <= {"evil.tar.gz", "artifacts"}


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    artifact = made(tmp_path, page="content" * 500)
    good = tmp_path / "good.tar.gz"
    package.export(tmp_path / "artifacts", artifact.name, to=good)
    content = good.read_bytes()
    turned = bytearray(content)
    turned[len(turned) // 2] ^= 0xFF
    for broken in (
        content[: len(content) // 2],
        content[:-2000],
        bytes(turned),
        b"",
        b"no tar",
        gzip.compress(b"x" * 600),
    ):
        path = tmp_path / "broken.tar.gz"
        path.write_bytes(broken)
        with pytest.raises(PackageError) as caught:
            package.import_(path, artifacts=tmp_path / "elsewhere")
        assert caught.value.code == "artifact-invalid"
        assert not list((tmp_path / "elsewhere").rglob("*.json"))
    with pytest.raises(PackageError):
        package.import_(tmp_path / "gone.tar.gz", artifacts=tmp_path / "elsewhere")
