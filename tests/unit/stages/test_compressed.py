"""Compressed siblings: which files get them, that they are what they should be, and that nothing is done twice."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import brotli

from deployd.domain.artifact import FileEntry, Manifest, StaticSite
from deployd.domain.stages import FileSet, TracedFile
from deployd.stages import package
from deployd.stages.package import compressed

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TEXT = b"const text = 'this is worth it';\n" * 100
NOISE = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(125))


def files(folder: Path, contents: dict[str, bytes]) -> FileSet:
    """An app that has its assets and public files served."""
    contents = {"server.js": b"serve" * 1000, "public/x": b"", **contents}
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    traced = tuple(
        TracedFile(path=name, source=str(folder / name), size=len(data)) for name, data in sorted(contents.items())
    )
    return FileSet(
        root=str(folder), entry="server.js", files=traced, assets={"/_next/static": "assets"}, public={"/": "public"}
    )


def made(tmp_path: Path, found: FileSet) -> dict[str, FileEntry]:
    artifact = package.package(found, built=1, artifacts=tmp_path / "artifacts")
    manifest = package.load(tmp_path / "artifacts", artifact.name)
    return {entry.path: entry for entry in manifest.files if isinstance(entry, FileEntry)}


def content(tmp_path: Path, entry: FileEntry) -> bytes:
    return (tmp_path / "artifacts/objects" / entry.sha256[:2] / entry.sha256).read_bytes()


def test_what_is_served_and_worth_it_gets_siblings(tmp_path: Path) -> None:
    entries = made(
        tmp_path,
        files(
            tmp_path / "tree",
            {
                "assets/a.js": TEXT, "assets/small.js": b"x" * 1024, "assets/noise.js": NOISE, "assets/photo.png": TEXT,
                "public/robots.txt": TEXT, "public/has.css": TEXT, "public/has.css.br": b"its own", "lib/code.js": TEXT,
            },
        ),
    )  # fmt: skip

    siblings = sorted(path for path in entries if path.endswith((".br", ".gz")))
    assert siblings == [
        "assets/a.js.br", "assets/a.js.gz", "public/has.css.br", "public/has.css.gz", "public/robots.txt.br",
        "public/robots.txt.gz",
    ]  # fmt: skip
    assert brotli.decompress(content(tmp_path, entries["assets/a.js.br"])) == TEXT
    assert gzip.decompress(content(tmp_path, entries["assets/a.js.gz"])) == TEXT
    assert content(tmp_path, entries["public/has.css.br"]) == b"its own"
    assert all(entries[path].mode == 0o644 and entries[path].time == "content" for path in siblings)


def test_a_second_time_nothing_is_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = files(tmp_path / "tree", {"assets/a.js": TEXT, "assets/noise.js": NOISE})
    first = made(tmp_path, found)
    calls: list[int] = []
    monkeypatch.setattr(compressed, "_brotli", lambda data: calls.append(len(data)) or b"")

    assert made(tmp_path, found) == first
    assert calls == []


def test_a_lost_or_broken_record_is_made_again(tmp_path: Path) -> None:
    found = files(tmp_path / "tree", {"assets/a.js": TEXT})
    first = made(tmp_path, found)
    (record,) = (tmp_path / "artifacts/compressed").glob("*/*")
    for text in ("", "{", "[]", '{"v": 2, "made": {}}', '{"v": 1, "made": {"../x": ["0", 1]}}'):
        record.write_text(text)
        assert made(tmp_path, found) == first
    for path in (tmp_path / "artifacts/objects").glob("*/" + first["assets/a.js.br"].sha256):
        path.unlink()
    assert made(tmp_path, found) == first
    assert content(tmp_path, first["assets/a.js.br"])


def test_collecting_forgets_what_nobody_has(tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    old = package.package(files(tmp_path / "old", {"assets/a.js": TEXT}), built=1, artifacts=artifacts)
    new = package.package(files(tmp_path / "new", {"assets/b.js": TEXT + b"more"}), built=1, artifacts=artifacts)

    package.collect(artifacts, keep={new.name}, grace=0)

    assert len(list((artifacts / "compressed").glob("*/*"))) == 1
    kept = package.load(artifacts, new.name)
    assert all(compressed.objects.path_of(artifacts, e.sha256).exists() for e in kept.files if isinstance(e, FileEntry))
    assert old.name != new.name


def test_a_site_without_a_process_has_no_shim_and_all_its_pages_compressed(tmp_path: Path) -> None:
    found = files(tmp_path / "tree", {"site/index.html": TEXT, "site/docs/a.html": TEXT + b"a", "site/404.html": b"no"})
    site = replace(
        found,
        entry="",
        files=tuple(file for file in found.files if file.path.startswith("site/")),
        assets={}, public={}, static=StaticSite(folder="site", not_found="404.html"),
    )  # fmt: skip

    entries = made(tmp_path, site)

    assert sorted(entries) == [
        "site/404.html", "site/docs/a.html", "site/docs/a.html.br", "site/docs/a.html.gz", "site/index.html",
        "site/index.html.br", "site/index.html.gz",
    ]  # fmt: skip


def test_the_name_tells_static_seeded_and_ask_first_apart() -> None:
    plain = Manifest(entry="server.js", files=())

    assert "ask_first" not in plain.to_json()
    others = [replace(plain, ask_first=True), replace(plain, seeded={"server-app": "x"})]
    assert len({one.name for one in (plain, *others)}) == 3
    assert [Manifest.from_json(one.to_json()) for one in others] == others
