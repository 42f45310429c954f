"""Native code against the hosts: what is judged by its header, what by its path, and what is said of a mismatch."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from deployd import elf
from deployd.domain.artifact import FileEntry, Manifest
from deployd.stages.verify import Fleet, check_natives, natives
from tests.support.natives import library

X64 = Fleet(cpu="x64", libc="glibc", libc_version="2.36")


def manifest(tmp_path: Path, **files: bytes) -> Manifest:
    entries = []
    for path, content in files.items():
        sha256 = hashlib.sha256(content).hexdigest()
        target = tmp_path / "objects" / sha256[:2] / sha256
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        entries.append(FileEntry(path=path, mode=0o644, size=len(content), sha256=sha256))
    return Manifest(entry="server.js", files=tuple(entries))


def checked(tmp_path: Path, fleet: Fleet = X64, **files: bytes):
    return check_natives(manifest(tmp_path, **files), artifacts=tmp_path, fleet=fleet)


def test_a_real_program_of_this_machine_is_read() -> None:
    found = elf.read(Path(shutil.which("ls") or "/bin/ls").resolve(), path="ls")

    assert found is not None
    assert found.libc == "glibc"
    assert found.glibc.startswith("2.")
    assert elf.read(Path(__file__), path="x.node") is None


def test_the_small_library_of_these_tests_says_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(library("arm64", "libc.so.6", "2.38"))
    assert elf.read(tmp_path / "a", path="a") == elf.Native(path="a", cpu="arm64", libc="glibc", glibc="2.38")
    (tmp_path / "b").write_bytes(library("x64", "libc.musl-x86_64.so.1"))
    assert elf.read(tmp_path / "b", path="b") == elf.Native(path="b", cpu="x64", libc="musl")


PACKAGE = "node_modules/better-sqlite3/build/Release/better_sqlite3.node"


def test_what_fits_is_no_finding(tmp_path: Path) -> None:
    assert (
        checked(tmp_path, **{PACKAGE: library("x64", "libc.so.6", "2.34"), "node_modules/a/a.node": library("x64")})
        == ()
    )


@pytest.mark.parametrize(
    ("content", "needs"),
    [
        (library("arm64", "libc.so.6"), "arm64 with glibc"),
        (library("x64", "libc.musl-x86_64.so.1"), "x64 with musl"),
        (library("x64", "libc.so.6", "2.38"), "x64 with glibc 2.38 or later"),
    ],
)
def test_a_mismatch_names_package_file_need_and_hosts(tmp_path: Path, content: bytes, needs: str) -> None:
    (found,) = checked(tmp_path, **{PACKAGE: content})

    assert found.what == f"the package better-sqlite3 has {PACKAGE}, which is for {needs}; the hosts are {X64}"
    assert found.error


def test_a_newer_glibc_is_mended_by_another_machine_another_platform_by_an_install(tmp_path: Path) -> None:
    (newer,) = checked(tmp_path, **{PACKAGE: library("x64", "libc.so.6", "2.38")})
    (other,) = checked(tmp_path, **{"node_modules/@img/sharp-linux-arm64/lib/a.node": library("arm64", "libc.so.6")})

    assert "build where glibc is 2.36 or older" in newer.fix
    assert "npm install --no-save --force @img/sharp-linux-x64" in other.fix


@pytest.mark.parametrize(
    "path",
    [
        PACKAGE,
        "node_modules/bufferutil/prebuilds/linux-x64/node.napi.node",
        "node_modules/.pnpm/a@1/node_modules/a/a.node",
    ],
)
def test_a_package_that_is_compiled_where_it_is_installed_wants_another_machine(tmp_path: Path, path: str) -> None:
    (found,) = checked(tmp_path, Fleet(cpu="arm64", libc="glibc"), **{path: library("x64", "libc.so.6")})

    assert "release from a machine with arm64 and glibc" in found.fix
    assert "npm install" not in found.fix


def test_hosts_that_do_not_tell_their_version_are_trusted(tmp_path: Path) -> None:
    assert checked(tmp_path, Fleet(cpu="x64", libc="glibc"), **{PACKAGE: library("x64", "libc.so.6", "2.99")}) == ()


def test_one_face_that_fits_is_enough(tmp_path: Path) -> None:
    musl, glibc = library("x64", "libc.musl-x86_64.so.1"), library("x64", "libc.so.6", "2.17")
    assert checked(tmp_path, **{
        "node_modules/@img/sharp-linuxmusl-x64/lib/a.node": musl, "node_modules/@img/sharp-linux-x64/lib/a.node": glibc,
        "node_modules/bufferutil/prebuilds/linux-x64/node.napi.node": glibc,
        "node_modules/bufferutil/prebuilds/darwin-arm64/node.napi.node": b"\xcf\xfa\xed\xfe" + bytes(100),
        "node_modules/bufferutil/prebuilds/win32-x64/node.napi.node": b"MZ" + bytes(100),
        "node_modules/bufferutil/prebuilds/linux-arm64/node.napi.node": library("arm64", "libc.so.6"),
    }) == ()  # fmt: skip


def test_a_package_that_has_nothing_for_the_hosts_is_refused(tmp_path: Path) -> None:
    (found,) = checked(
        tmp_path, **{"node_modules/bufferutil/prebuilds/linux-arm64/n.node": library("arm64", "libc.so.6")}
    )

    assert found.error
    assert "the package bufferutil has nothing for the hosts" in found.what


def test_code_for_another_system_is_told(tmp_path: Path) -> None:
    (found,) = checked(tmp_path, **{"node_modules/fsevents/fsevents.node": b"\xcf\xfa\xed\xfe" + bytes(100)})
    assert not found.error


def test_a_damaged_file_and_texts_are_left_alone(tmp_path: Path) -> None:
    assert checked(tmp_path, **{"bin/tool": b"\x7fELF" + bytes(100), "public/a.png": library("arm64")}) == ()


@pytest.mark.parametrize(
    ("path", "package"),
    [
        ("node_modules/@img/sharp-linux-x64/lib/a.node", "@img/sharp"),
        ("node_modules/@img/sharp-libvips-linuxmusl-arm64/lib/x.so", "@img/sharp-libvips"),
        ("node_modules/@next/swc-linux-x64-gnu/next-swc.linux-x64-gnu.node", "@next/swc"),
        ("node_modules/@node-rs/argon2-linux-arm-gnueabihf/x.node", "@node-rs/argon2"),
        ("node_modules/@esbuild/linux-x64/bin/esbuild", "@esbuild"),
        ("node_modules/.pnpm/bcrypt@5/node_modules/bcrypt/lib/x.node", "bcrypt"),
        ("apps/web/native/x.node", ""),
    ],
)
def test_the_faces_of_a_package_have_one_name(path: str, package: str) -> None:
    assert natives.package_of(path) == package


@pytest.mark.parametrize(
    ("path", "is_another"),
    [
        ("node_modules/a/prebuilds/linux-x64/n.node", False),
        ("node_modules/a/prebuilds/linux-x64/n.musl.node", True),
        ("node_modules/a/prebuilds/linux-arm/n.node", True),
        ("node_modules/.prisma/client/libquery_engine-debian-openssl-3.0.x.so.node", False),
        ("node_modules/.prisma/client/libquery_engine-linux-musl-openssl-3.0.x.so.node", True),
        ("node_modules/.prisma/client/libquery_engine-linux-arm64-openssl-3.0.x.so.node", True),
        ("node_modules/aws-crt/dist/bin/linux-x64-glibc/aws-crt-nodejs.node", False),
        ("node_modules/aws-crt/dist/bin/darwin-x64/aws-crt-nodejs.node", True),
    ],
)
def test_a_path_names_its_platform(path: str, *, is_another: bool) -> None:
    assert elf.names_another(path, X64) is is_another
