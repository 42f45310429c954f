"""begin, seal, env: what arrives becomes a release of root's, or nothing at all."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.fakehost import BUILT, RUNTIME, A, B, C, Package, names

if TYPE_CHECKING:
    from tests.contract.fakehost import FakeHost

TABLES = Path(__file__).parent / "tables"
SEAL = ("seal", "shop", "production", A)
PROVENANCE: dict[str, Any] = {"provenance": {}}


def test_first_release_is_laid_out_from_the_manifest(configured: FakeHost) -> None:
    package = Package(
        {**Package().files, "bin/run": b"#!", ".next/server/app/p.html": b"p", "public/robots.txt": b"r"},
        modes={"bin/run": 0o755},
        times={".next/server/app/p.html": "build"},
        links={"node_modules/a": "../bin/run"},
        public={"/": "public"},
    )

    sealed = configured.seal(A, package)

    release = configured.release(A)
    assert (sealed["files"], sealed["linked"], sealed["copied"]) == (6, 0, 0)
    assert (release / ".deployd/id").read_bytes() == A.encode()
    assert (release / ".deployd/entry").resolve() == release / "server.js"
    assert (release / ".deployd/node").resolve().name == "node"
    assert (release / ".deployd/www/_next/static/a.js").read_bytes() == b"a1"
    assert (release / ".deployd/public/robots.txt").read_bytes() == b"r"
    assert not str((release / ".deployd/www/_next/static").readlink()).startswith("/")
    assert json.loads((release / ".deployd/manifest.json").read_text()) == package.manifest()
    assert json.loads((release / ".deployd/provenance.json").read_text()) == {"commit": "c0ffee"}
    assert str((release / "node_modules/a").readlink()) == "../bin/run"
    assert str((release / ".next/cache").readlink()) == f"{configured.root}/var/cache/deployd/shop-production/{A}/cache"
    run, page, script = (release / path for path in ("bin/run", ".next/server/app/p.html", "server.js"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in (run, page, script)] == [0o555, 0o444, 0o444]
    assert page.stat().st_mtime == BUILT
    digest = hashlib.sha256(b"serve()").hexdigest()
    assert script.stat().st_mtime == 1_000_000_000 + int(digest[:8], 16) % 100_000_000
    assert configured.path("static/_next/static/a.js").stat().st_ino == (release / ".next/static/a.js").stat().st_ino
    assert all(folder.stat().st_mode & 0o7777 == 0o755 for folder in release.rglob("*") if folder.is_dir())
    assert not (configured.root / "srv/deployd/incoming/shop-production" / A).exists()


def test_only_what_is_missing_travels_and_the_rest_is_linked(configured: FakeHost) -> None:
    configured.seal(A)
    changed = Package().with_files(**{"server.js": b"serve2()"})

    begun = configured.begin(B, changed, compressed=True)
    sealed = configured.seal(B, changed)

    assert begun["missing"] == [hashlib.sha256(b"serve2()").hexdigest()]
    assert (begun["have"], begun["bytes_missing"], begun["current"]) == (2, 8, None)
    assert (sealed["linked"], sealed["bytes"]) == (2, 8)
    assert (configured.release(A) / ".deployd/listen.cjs").samefile(configured.release(B) / ".deployd/listen.cjs")
    assert (configured.release(A) / "server.js").read_bytes() == b"serve()"


def test_same_content_with_another_mode_is_copied_here(configured: FakeHost) -> None:
    configured.seal(A)
    package = Package(modes={"server.js": 0o755})

    sealed = configured.seal(B, package)

    assert (sealed["linked"], sealed["copied"], sealed["bytes"]) == (2, 1, 0)
    assert stat.S_IMODE((configured.release(A) / "server.js").stat().st_mode) == 0o444


def test_a_file_changed_on_the_host_is_not_linked(configured: FakeHost) -> None:
    """Somebody with root edited a sealed file: its size or time tells, and its content has another hash."""
    configured.seal(A)
    edited = configured.release(A) / "server.js"
    edited.chmod(0o644)
    edited.write_bytes(b"evil()!")

    reply = configured.begin(B, Package())
    assert reply["missing"] == []
    configured.refused("seal", "shop", "production", B, doc=PROVENANCE, code="content-mismatch")
    assert not configured.release(B).exists()


def test_begin_and_seal_again_change_nothing(configured: FakeHost) -> None:
    configured.seal(A)
    inode = configured.release(A).stat().st_ino

    begun = configured.begin(A, Package())
    sealed = configured.ok(*SEAL, doc=PROVENANCE)

    assert (begun["sealed"], begun["missing"], begun["incoming"]) == (True, [], None)
    assert sealed["already"] is True
    assert configured.release(A).stat().st_ino == inode
    configured.refused(
        "begin", "shop", "production", A, code="release-exists",
        doc={"manifest": Package().with_files(x=b"x").manifest(), "runtime": RUNTIME},
    )  # fmt: skip


def test_names_that_are_not_text_survive(configured: FakeHost) -> None:
    raw = [b"caf\xe9", "ünïcode".encode(), b"new\nline", b"quote'\"$(id)", b"-rf", b" ", b"[slug]", b"\xff\xfe"]
    package = Package()
    manifest = package.manifest()
    digest = hashlib.sha256(b"serve()").hexdigest()
    for name in raw:
        try:
            path: Any = name.decode()
        except UnicodeDecodeError:
            path = {"bytes": base64.b64encode(name).decode()}
        manifest["files"].append({"path": path, "mode": 420, "size": 7, "sha256": digest})
    begun = configured.ok("begin", "shop", "production", A, doc={"manifest": manifest, "runtime": RUNTIME})
    configured.send(A, package, begun["missing"])

    configured.ok(*SEAL, doc=PROVENANCE)

    assert set(raw) <= {os.fsencode(path.name) for path in configured.release(A).iterdir()}


def _manifest_of(case: dict[str, Any]) -> dict[str, Any]:
    manifest = Package().manifest()
    entry = {key: value for key, value in case.items() if key not in {"why", "manifest"}}
    if entry:
        base: dict[str, Any] = {"path": "x"}
        if "link" not in entry:
            base |= {"mode": 0o644, "size": 1, "sha256": "0" * 64}
        entry = base | entry
        entry["path"] = "n" * 256 if entry["path"] == "LONG" else entry["path"]
        manifest["files"].append(entry)
    return manifest | case.get("manifest", {})


def test_manifests_that_an_enemy_would_send(configured: FakeHost) -> None:
    cases = json.loads((TABLES / "manifests.json").read_text())
    escapes = [
        {"p/q/l": "../..", "m": "p/q/l/../x"},
        {"d": "..", "e": "d/x"},
        {"a": "b", "b": "a"},
        {"a": "b/..", "b": "c", "c": "../.."},
    ]
    manifests = [_manifest_of(case) for case in cases] + [Package(links=links).manifest() for links in escapes]

    replies = configured.served(
        [(["begin", "shop", "production", A], {"manifest": one, "runtime": RUNTIME}) for one in manifests]
    )

    why = [case["why"] for case in cases] + [str(links) for links in escapes]
    assert [text for text, one in zip(why, replies, strict=True) if one.get("code") != "manifest-invalid"] == []
    assert not configured.path("begun").joinpath(f"{A}.json").exists()


def test_links_inside_are_welcome(configured: FakeHost) -> None:
    links = {
        "node_modules/.pnpm/a/node_modules/b": "../../b/node_modules/b",
        "node_modules/x": ".pnpm/a",
        "deep/er/up": "../../server.js",
        "through": "node_modules/x/node_modules/b",
        "dangling": "not/there",
        "images": ".next/cache/images",
    }

    configured.seal(A, Package(links=links))

    assert (configured.release(A) / "deep/er/up").read_bytes() == b"serve()"


@pytest.mark.parametrize("how", ["content", "shorter", "longer", "link", "fifo", "folder", "hard link", "missing"])
def test_what_arrives_is_an_enemys(configured: FakeHost, how: str, tmp_path: Path) -> None:
    package = Package()
    missing = configured.begin(A, package)["missing"]
    folder = configured.send(A, package, missing)
    bad = folder / hashlib.sha256(b"serve()").hexdigest()
    bad.unlink()
    other = tmp_path / "same"
    other.write_bytes(b"serve()")
    if how == "link":
        bad.symlink_to(other)
    elif how == "fifo":
        os.mkfifo(bad)
    elif how == "folder":
        bad.mkdir()
    elif how == "hard link":
        inside = folder / "second-name"
        inside.write_bytes(b"serve()")
        os.link(inside, bad)
    elif how != "missing":
        bad.write_bytes({"content": b"enemy()", "shorter": b"serv", "longer": b"serve() "}[how])

    configured.refused(*SEAL, doc=PROVENANCE, code="file-missing" if how == "missing" else "content-mismatch")

    assert names(configured.path("releases")) == []
    assert configured.current() is None
    # and it is no obstacle for the next try
    configured.seal(A, package)


def test_an_open_descriptor_cannot_change_a_sealed_file(configured: FakeHost) -> None:
    package = Package()
    folder = configured.send(A, package, configured.begin(A, package)["missing"])
    arrived = folder / hashlib.sha256(b"serve()").hexdigest()
    with arrived.open("r+b") as held:
        configured.ok(*SEAL, doc=PROVENANCE)
        held.write(b"enemy()")
        held.flush()

    assert (configured.release(A) / "server.js").read_bytes() == b"serve()"


def test_the_incoming_folder_itself_is_a_link(configured: FakeHost, tmp_path: Path) -> None:
    package = Package()
    folder = configured.send(A, package, configured.begin(A, package)["missing"])
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")

    configured.refused(*SEAL, doc=PROVENANCE, code="file-missing")
    assert len(names(tmp_path / "moved")) == 3


def test_a_full_disk_is_said_before_anything_changed(configured: FakeHost) -> None:
    doc = {"manifest": Package().manifest(), "runtime": RUNTIME}

    reply = configured.refused(
        "begin", "shop", "production", A, doc=doc, code="disk-full", DEPLOYD_HOST_DISK_FREE="1000"
    )

    assert reply["details"]["free"] == 1000
    assert not (configured.root / "srv/deployd/incoming/shop-production").exists()


def test_the_disk_is_full_in_the_middle_of_sealing(configured: FakeHost) -> None:
    """A real file system of 1 MB below releases/: what was made of the release is taken away again."""
    releases = configured.path("releases")
    package = Package({**Package().files, "big": bytes(range(256)) * 8000})
    missing = configured.begin(A, package)["missing"]
    configured.send(A, package, missing)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", releases], check=False)
    if mounted.returncode != 0:
        pytest.fail("cannot mount a small file system here")
    try:
        configured.refused(*SEAL, doc=PROVENANCE, code="disk-full")
        assert names(releases) == []
    finally:
        subprocess.run(["umount", releases], check=True)
    configured.ok(*SEAL, doc=PROVENANCE)


def test_another_place_that_is_full_is_named(configured: FakeHost) -> None:
    """A full /run is no full disk: `prune` would not help."""
    run = configured.root / "run/deployd"
    run.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", run], check=False).returncode != 0:
        pytest.fail("cannot mount a small file system here")
    try:
        (run / "locks").mkdir()
        with contextlib.suppress(OSError):
            (run / "fill").write_bytes(bytes(100_000))
        reply = configured.raw("hold", "shop", "production", stdin=b'{"owner": "me", "rollout": "r-1"}\n')
        assert reply.json["code"] == "disk-full"
        assert reply.json["what"] == f"no room is left in {run} on the host"
        assert f"df -h {run}" in reply.json["fix"]
    finally:
        subprocess.run(["umount", "--lazy", run], check=True)


def test_the_runtime_must_be_there(configured: FakeHost) -> None:
    package = Package()
    doc = {"manifest": package.manifest(), "runtime": "node-20.1.1-linux-x64-glibc"}
    configured.send(A, package, configured.ok("begin", "shop", "production", A, doc=doc)["missing"])

    configured.refused(*SEAL, doc=PROVENANCE, code="runtime-missing")


def test_seal_without_begin(configured: FakeHost) -> None:
    configured.refused(*SEAL, doc=PROVENANCE, code="not-begun")


def test_the_union_keeps_what_kept_releases_have(configured: FakeHost) -> None:
    """A chunk of the same name with other content: the newest release's is found; a folder becomes a file and back."""
    union = configured.path("static/_next/static")
    configured.seal(A)
    configured.seal(B, Package({**Package().files, ".next/static/a.js": b"a2", ".next/static/b/c.js": b"c"}))
    assert (union / "a.js").read_bytes() == b"a2"
    configured.seal(C, Package({**Package().files, ".next/static/b": b"now a file"}))

    assert (union / "a.js").read_bytes() == b"a1"
    assert (union / "b").read_bytes() == b"now a file"
    configured.ok("seal", "shop", "production", B, doc=PROVENANCE)
    assert (union / "b/c.js").read_bytes() == b"c"


def test_a_runtime_is_sealed_once(configured: FakeHost) -> None:
    runtime = "node-20.1.1-linux-arm64-glibc"
    begun = configured.ok("runtime-begin", runtime)
    assert (begun["present"], configured.ok("runtime-begin", RUNTIME)["present"]) == (False, True)
    node = Path(begun["incoming"]) / "node"
    good = {"sha256": hashlib.sha256(b"node").hexdigest(), "size": 4}
    seal = ("runtime-seal", runtime)

    configured.refused(*seal, doc=good, code="file-missing")
    node.write_bytes(b"evil")
    configured.refused(*seal, doc=good, code="content-mismatch")
    node.write_bytes(b"node")
    assert configured.ok(*seal, doc=good)["sealed"] is True
    assert configured.ok(*seal, doc=good)["already"] is True
    configured.refused(*seal, doc=good | {"sha256": "0" * 64}, code="content-mismatch")

    made = configured.root / "srv/deployd/runtimes" / runtime / "bin/node"
    assert (made.read_bytes(), stat.S_IMODE(made.stat().st_mode)) == (b"node", 0o555)
    assert not node.parent.exists()


def test_variables_are_written_for_systemd_and_root_only(configured: FakeHost) -> None:
    configured.seal(A)
    value = 'a"b\\c$HOME `x`\nline2 %h'

    configured.ok("env", "shop", "production", A, doc={"variables": {"SECRET": value, "EMPTY": ""}})

    path = configured.path("env") / A
    assert path.read_text() == 'EMPTY=""\nSECRET="a\\"b\\\\c\\$HOME \\`x\\`\nline2 %h"\n'
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)


def test_variables_that_systemd_would_drop_are_refused(configured: FakeHost) -> None:
    bad: list[Any] = [
        {"1A": "x"}, {"A-B": "x"}, {"A\nB": "x"}, {"": "x"}, {"DEPLOYD_RELEASE": "x"}, {"LISTEN_FDS": "x"}, {"A": 1},
        {"A": "x\r"}, {"A": "x\0"}, {"A": "x\x1b"}, {"A": "x\x85"}, {"A": "\udc80"}, {"A": "x" * 200_000},
    ]  # fmt: skip

    replies = configured.served([(["env", "shop", "production", A], {"variables": one}) for one in bad])

    assert [one for one, reply in zip(bad, replies, strict=True) if reply.get("code") != "variable-invalid"] == []
    assert not (configured.path("env") / A).exists()


def test_a_release_that_was_live_keeps_its_variables(configured: FakeHost) -> None:
    env = ("env", "shop", "production", A)
    configured.seal(A)
    configured.ok(*env, doc={"variables": {"A": "1"}})
    configured.ok(*env, doc={"variables": {"A": "2"}})
    configured.ok("start", "shop", "production", A)
    configured.flip(A, None, configured.epoch())

    configured.ok(*env, doc={"variables": {"A": "2"}})
    configured.refused(*env, doc={"variables": {"A": "3"}}, code="env-frozen")


def test_a_full_disk_leaves_room_to_prune_and_to_go_back(configured: FakeHost) -> None:
    """Some room is held by a file, and given up when nothing else is free."""
    host = configured
    reserve = host.root / "srv/deployd/.reserve"
    host.live(A)
    host.ok("prune", "shop", "production", doc={"keep": [A]})
    assert reserve.stat().st_size == 4 << 20
    full = {"DEPLOYD_HOST_DISK_FREE": "1000"}
    host.ok("facts", **full)
    assert reserve.exists()
    host.ok("prune", "shop", "production", doc={"keep": [A]}, **full)
    assert not reserve.exists()
    host.ok("prune", "shop", "production", doc={"keep": [A]}, **full)
    assert not reserve.exists()
    host.ok("prune", "shop", "production", doc={"keep": [A]})
    assert reserve.exists()
