"""From a standalone build to the set of files: places, completeness, links and secrets."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest

from deployd.errors import PackageError
from deployd.stages.trace import nativecode, secrets, tree
from tests.support.natives import library
from tests.support.standalone import Built, paths


def test_public_and_static_stand_beside_the_server(built: Built) -> None:
    files = built.trace()
    below = f"{built.place}/" if built.place else ""
    assert paths(files) == [
        f"{below}{name}"
        for name in (
            ".next/BUILD_ID",
            ".next/server/middleware-manifest.json",
            ".next/static/chunks/a.js",
            "public/robots.txt",
            "server.js",
        )
    ]
    assert files.entry == f"{below}server.js"
    assert dict(files.assets) == {"/_next/static": f"{below}.next/static"}
    assert dict(files.public) == {"/": f"{below}public"}
    assert dict(files.writable) == {
        "cache": f"{below}.next/cache", "route-cache": f"{below}.next/server/route-cache",
    }  # fmt: skip
    assert files.warnings == ()


def test_packages_that_stay_out_of_the_bundle_travel_whole_where_no_trace_has_them(built: Built) -> None:
    """pino-pretty is named by a text alone; of bcrypt the trace has its code, and not the native one."""
    modules, store = built.root / "node_modules", built.root / "node_modules/.pnpm/pretty@1/node_modules"
    built.json(store / "pretty/package.json", {"dependencies": {"colors": "1"}})
    built.json(store / "colors/package.json", {})
    built.write(store / "colors/lib/a.js", "")
    (modules / "pretty").symlink_to(".pnpm/pretty@1/node_modules/pretty")
    for name in ("package.json", "index.js", "prebuilds/linux-x64/a.node", "prebuilds/win32-x64/a.node", "test/x.js"):
        built.write(modules / "bcrypt" / name, "{}")
    built.json(built.dist / "standalone/node_modules/bcrypt/package.json", {})
    required = built.dist / "required-server-files.json"
    config = {"serverExternalPackages": ["pretty", "not-there"]}
    built.json(required, json.loads(required.read_text()) | {"config": config})
    assert [path for path in paths(built.trace()) if "node_modules" in path] == [
        "node_modules/.pnpm/pretty@1/node_modules/colors/lib/a.js",
        "node_modules/.pnpm/pretty@1/node_modules/colors/package.json",
        "node_modules/.pnpm/pretty@1/node_modules/pretty/package.json",
        "node_modules/bcrypt/package.json", "node_modules/bcrypt/prebuilds/linux-x64/a.node", "node_modules/pretty",
    ]  # fmt: skip
    unwanted = {"outputFileTracingExcludes": {"/*": ["**/node_modules/pretty/**", "**/node_modules/bcrypt/prebuilds"]}}
    built.json(required, json.loads(required.read_text()) | {"config": config | unwanted})
    assert [path for path in paths(built.trace()) if "node_modules" in path] == ["node_modules/bcrypt/package.json"]


def test_this_platforms_part_of_a_package_travels(built: Built) -> None:
    """Next.js 13 and 14 trace sharp's code, and know nothing of the packages with its native one."""
    cpu = "arm64" if platform.machine() in {"aarch64", "arm64"} else "x64"
    modules, other = built.root / "node_modules", "x64" if cpu == "arm64" else "arm64"

    def put(name: str, **facts: object) -> None:
        built.json(modules / name / "package.json", facts)
        built.write(modules / name / "lib" / "a.node", "x")

    mine, vips = f"@img/sharp-linux-{cpu}", f"@img/sharp-libvips-linux-{cpu}"
    theirs, musl, compiler = f"@img/sharp-linux-{other}", f"@img/sharp-linuxmusl-{cpu}", "@next/swc-linux"
    fits = {"os": ["linux"], "cpu": [cpu]}
    put(mine, **fits, libc=["glibc"], optionalDependencies={vips: "1"})
    put(vips, **fits)
    put(musl, **fits, libc=["musl"])
    put(theirs, os=["linux"], cpu=[other])
    put(compiler, **fits)
    put("plain")
    needs = dict.fromkeys((mine, theirs, musl, "plain", "not-there"), "1")
    for where in (modules, built.dist / "standalone/node_modules"):
        built.json(where / "sharp/package.json", {"optionalDependencies": needs})
        built.json(where / "next/package.json", {"optionalDependencies": {compiler: "1"}})
        built.write(where / "odd/package.json", "{")
    assert [path for path in paths(built.trace()) if "node_modules/@" in path or "plain" in path] == [
        f"node_modules/{name}/{file}" for name in (vips, mine) for file in ("lib/a.node", "package.json")
    ]


def test_native_code_whose_path_is_made_at_run_time_travels(built: Built) -> None:
    """aws-crt on 15.5: its trace has the code, at most another platform's native one; and a library lies beside it."""
    cpu = nativecode.own().cpu
    other = "x64" if cpu == "arm64" else "arm64"
    crt, standalone = built.root / "node_modules/crt", built.dist / "standalone/node_modules"
    libc = ("libc.so.6", "2.17")
    natives = {
        f"dist/bin/linux-{cpu}-glibc/crt.node": library(cpu, *libc),
        f"dist/bin/linux-{cpu}-glibc/libcrt.so.1": library(cpu, *libc),
        f"dist/bin/linux-{cpu}-musl/crt.node": library(cpu, "libc.musl-x86_64.so.1"),
        f"dist/bin/linux-{other}-glibc/crt.node": library(other, *libc),
        "dist/bin/a/crt.node": library(other, *libc),
        "dist/bin/freebsd/crt.node": library(cpu),
        "dist/bin/darwin/crt.node": b"\xcf\xfa\xed\xfe" + bytes(100),
        "node_modules/inner/crt.node": library(cpu, *libc),
        "build/Release/obj.target/crt.node": library(cpu, *libc),
    }
    for name, content in natives.items():
        built.write(crt / name, "")
        (crt / name).write_bytes(content)
    foreign = f"dist/bin/linux-{cpu}-musl/crt.node"
    built.write(standalone / "crt" / foreign, "")
    (standalone / "crt" / foreign).write_bytes(natives[foreign])
    for where in (crt, standalone / "crt"):
        built.json(where / "package.json", {})
    wanted = [f"node_modules/crt/dist/bin/linux-{cpu}-glibc/{name}" for name in ("crt.node", "libcrt.so.1")]
    assert [path for path in paths(built.trace()) if "-glibc/" in path or "crt.node" in path] == sorted(
        [*wanted, f"node_modules/crt/{foreign}"]
    )

    mine = crt / "own.node"
    mine.write_bytes(library(cpu, *libc))  # what fits is traced: nothing is missing
    (standalone / "crt/own.node").write_bytes(library(cpu, *libc))
    assert not set(wanted) & set(paths(built.trace()))


def test_every_manifest_of_the_build_travels(built: Built) -> None:
    """A build of Next.js 16 without the App Router has manifests of it that no list names, and its server reads them."""
    for name in ("app-paths-manifest.json", "middleware.js.nft.json"):
        built.json(built.dist / "server" / name, {})
    at = f"{built.place}/" if built.place else ""
    assert [path for path in paths(built.trace()) if path.startswith(f"{at}.next/server/")] == [
        f"{at}.next/server/app-paths-manifest.json", f"{at}.next/server/middleware-manifest.json",
    ]  # fmt: skip


def test_what_a_package_reads_by_its_name_travels(built: Built) -> None:
    built.write(built.app / "next-i18next.config.js", "")
    at = f"{built.place}/" if built.place else ""
    assert f"{at}next-i18next.config.js" in paths(built.trace())


def test_prerendered_files_keep_the_builds_time(built: Built) -> None:
    built.write(built.standalone / ".next/server/app/a.html", "")
    built.write(built.standalone / ".next/server/pages/b.json", "")
    built.write(built.standalone / ".next/server/chunks/c.js", "")
    times = {Path(file.path).name: file.time for file in built.trace().files}
    assert (times["a.html"], times["b.json"], times["c.js"], times["server.js"]) == (
        "build", "build", "content", "content",
    )  # fmt: skip


def test_what_the_server_writes_does_not_travel(built: Built) -> None:
    built.write(built.standalone / ".next/cache/images/x", "")
    built.write(built.standalone / ".next/server/route-cache/x", "")
    built.write(built.standalone / ".next/cached", "")
    assert [path for path in paths(built.trace()) if "cache" in path] == [f"{built.place}/.next/cached".lstrip("/")]


def test_a_traced_file_that_next_did_not_copy_is_added_and_told(built: Built) -> None:
    built.write(built.root / "node_modules/pino/index.js", "pino")
    (built.root / "node_modules/.bin").mkdir()
    (built.root / "node_modules/.bin/pino").symlink_to("../pino/index.js")
    built.write(built.root.parent / f"{built.root.name}-outside.js", "x")
    up = "/".join([".."] * (3 + len(Path(built.place).parts)))
    built.json(built.dist / "server/app/page.js.nft.json", {"files": [
        f"{up}/node_modules/pino/index.js", f"{up}/node_modules/.bin/pino", f"{up}/node_modules/gone/only-on-windows.js",
        f"{up}/../{built.root.name}-outside.js", "../../BUILD_ID",
    ]})  # fmt: skip
    files = built.trace()
    assert {"node_modules/pino/index.js", "node_modules/.bin/pino"} <= set(paths(files))
    assert not [path for path in paths(files) if "outside" in path or "gone" in path]
    assert [warning for warning in files.warnings if "added" in warning] == [
        "missing in the standalone tree, and added: node_modules/.bin/pino",
        "missing in the standalone tree, and added: node_modules/pino/index.js",
    ]


def test_the_code_of_a_static_page_is_not_missed(built: Built) -> None:
    built.write(built.dist / "server/chunks/only-static.js", "x")
    built.json(built.dist / "server/pages-manifest.json", {
        "/_app": "pages/_app.js", "/legacy": "pages/legacy.html", "/ssr": "pages/ssr.js",
    })  # fmt: skip
    for page in ("pages/legacy.js", "app/_global-error/page.js"):
        depth = "../" * page.count("/")
        built.json(built.dist / f"server/{page}.nft.json", {"files": [f"{depth}chunks/only-static.js"]})
    assert built.trace().warnings == ()
    built.json(built.dist / "server/pages/ssr.js.nft.json", {"files": ["../chunks/only-static.js"]})
    assert "only-static.js" in built.trace().warnings[0]


def test_a_file_behind_a_link_of_pnpms_is_not_missed(built: Built) -> None:
    if built.place:
        return
    for top in (built.root, built.standalone):
        built.write(top / "node_modules/.pnpm/pino@1/node_modules/pino/index.js", "x")
        (top / "node_modules/pino").symlink_to(".pnpm/pino@1/node_modules/pino")
    built.json(built.dist / "server/page.js.nft.json", {"files": ["../../node_modules/pino/index.js"]})
    files = built.trace()
    assert files.warnings == ()
    assert [file.symlink for file in files.files if file.path == "node_modules/pino"] == [
        ".pnpm/pino@1/node_modules/pino"
    ]


def test_secret_files_are_left_out_and_named(built: Built) -> None:
    for name in (".env", ".env.production", "config/.env.local", "server.key", ".npmrc", ".git/config"):
        built.write(built.standalone / name, "secret")
    built.write(built.app / "public/.env.example", "")
    (built.standalone / ".envrc").symlink_to("server.js")
    files = built.trace()
    assert not [path for path in paths(files) if secrets.is_secret(path)]
    assert len([warning for warning in files.warnings if "secrets" in warning]) == 8


@pytest.mark.parametrize(
    ("path", "secret"),
    [
        (".env", True), ("a/.env", True), (".env.production", True), (".env.example", True), (".envrc", True),
        (".env/x", True), (".npmrc", True), (".git/HEAD", True), ("a/.git/x", True), ("id_rsa", True), ("tls.pem", True),
        ("TLS.KEY", True), (".aws/credentials", True), ("node_modules/x/.env", True), ("node_modules/x/.npmrc", True),
        ("node_modules/x/ca.pem", False), ("env.js", False), ("x.env.js", False), ("public/monkey", False),
        ("id_rsa.pub", False), (".gitignore", False),
        ("docker.env", True), (".dev.vars", True), ("id_ed25519_sk", True), ("a.ppk", True), (".kube/config", True), ("environment/x", False),
    ],
)  # fmt: skip
def test_what_counts_as_a_secret_file(path: str, secret: bool) -> None:  # noqa: FBT001
    assert secrets.is_secret(path) is secret


ACCOUNT = '{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\\nMIIE"}'
SSH = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz"


@pytest.mark.parametrize(
    ("path", "content", "travels"),
    [
        ("data/service-account.json", ACCOUNT, False), ("public/gcp.json", ACCOUNT, False), ("config/deploy", SSH, False),
        ("config/deploy.txt", "\n" + SSH, False), ("config/ec", "-----BEGIN EC PRIVATE KEY-----\n", False),
        ("config/public", "-----BEGIN PUBLIC KEY-----\nMIIB", True), ("data/keys.json", '{"private_key": null}', True),
        ("data/keys.txt", "a key begins with -----BEGIN PRIVATE KEY-----", True),
        ("node_modules/jose/test.json", ACCOUNT, True),
    ],
)  # fmt: skip
def test_a_key_is_known_by_its_content(built: Built, path: str, content: str, travels: bool) -> None:  # noqa: FBT001
    built.write((built.app if path.startswith("public/") else built.standalone) / path, content)
    files = built.trace()
    place = f"{built.place}/{path}" if built.place else path
    assert (place in paths(files)) is travels
    told = [warning for warning in files.warnings if "secrets" in warning]
    assert len(told) == (0 if travels else 1)
    assert all(place in warning for warning in told)
    assert all("deployd env set" in warning for warning in told if path.endswith(".json"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../etc/passwd", "..", "a/../../.."])
@pytest.mark.parametrize("place", ["standalone", "public"])
def test_a_link_out_of_the_tree_is_refused_by_name(tmp_path: Path, target: str, place: str) -> None:
    built = Built(tmp_path)
    folder = built.standalone if place == "standalone" else built.app / "public"
    (folder / "evil").symlink_to(target)
    with pytest.raises(PackageError) as caught:
        built.trace()
    assert caught.value.code == "symlink-escapes"
    assert "evil" in caught.value.what
    assert target in caught.value.what


def test_a_link_that_leaves_through_another_link_is_refused(tmp_path: Path) -> None:
    built = Built(tmp_path)
    deep = built.standalone / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "up").symlink_to("../..")
    (deep / "evil").symlink_to("up/../x")
    with pytest.raises(PackageError, match="evil"):
        built.trace()


def test_links_inside_stay_links_and_one_to_nothing_is_told(built: Built) -> None:
    (built.standalone / "good").symlink_to("server.js")
    (built.standalone / "lost").symlink_to("nowhere/at/all")
    files = built.trace()
    links = {Path(file.path).name: file.symlink for file in files.files if file.symlink}
    assert links == {"good": "server.js", "lost": "nowhere/at/all"}
    assert [warning for warning in files.warnings if "link to nothing" in warning and "lost" in warning]
    assert len(files.warnings) == 1


def test_a_socket_is_refused_by_name(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PackageError, match="pipe") as caught:
        list(tree.walk(tmp_path, at="", reason="x"))
    assert caught.value.code == "file-kind-refused"


def test_a_build_without_its_server_or_manifest_is_told(built: Built) -> None:
    (built.standalone / "server.js").unlink()
    with pytest.raises(PackageError) as caught:
        built.trace()
    assert caught.value.code == "standalone-incomplete"
    (built.dist / "required-server-files.json").write_text("{")
    with pytest.raises(PackageError, match="no JSON"):
        built.trace()
    (built.dist / "required-server-files.json").unlink()
    with pytest.raises(PackageError) as caught:
        built.trace()
    assert caught.value.code == "standalone-incomplete"


def test_an_app_without_public_files_serves_none(built: Built) -> None:
    (built.app / "public" / "robots.txt").rename(built.app / "public" / ".env")
    assert dict(built.trace().public) == {}
    (built.app / "public" / ".env").unlink()
    (built.app / "public").rmdir()
    assert dict(built.trace().public) == {}


def test_a_dist_folder_beside_the_app_keeps_its_place(tmp_path: Path) -> None:
    """As Nx has it: `distDir: "../../dist/apps/web/.next"`."""
    built = Built(tmp_path, "apps/web")
    (tmp_path / "dist/apps/web").mkdir(parents=True)
    built.dist = built.dist.rename(tmp_path / "dist/apps/web/.next")
    folder = "../../dist/apps/web/.next"
    required = {"relativeAppDir": "apps/web", "files": [f"{folder}/BUILD_ID"], "config": {"distDir": folder}}
    built.json(built.dist / "required-server-files.json", required)
    standalone = built.dist / "standalone"
    (standalone / "dist/apps/web").mkdir(parents=True)
    (standalone / "apps/web/.next").rename(standalone / "dist/apps/web/.next")
    built.write(standalone / "dist/apps/web/.next/server/app/a.html", "")
    files = built.trace(folder=folder)
    assert paths(files) == [
        "apps/web/public/robots.txt", "apps/web/server.js", "dist/apps/web/.next/BUILD_ID",
        "dist/apps/web/.next/server/app/a.html", "dist/apps/web/.next/server/middleware-manifest.json",
        "dist/apps/web/.next/static/chunks/a.js",
    ]  # fmt: skip
    assert dict(files.assets) == {"/_next/static": "dist/apps/web/.next/static"}
    assert dict(files.writable)["cache"] == "dist/apps/web/.next/cache"
    assert next(file.time for file in files.files if file.path.endswith("a.html")) == "build"


@pytest.mark.parametrize(
    ("version", "sharp", "brings"), [("14.2.0", False, True), ("14.2.0", True, False), ("15.5.0", False, False)]
)
def test_next_13_and_14_without_sharp_use_their_own_image_code(
    built: Built, version: str, *, sharp: bool, brings: bool
) -> None:
    package = built.root / "node_modules/next"
    built.json(package / "package.json", {"version": version})
    for name in (
        "dist/server/lib/squoosh/impl.js",
        "dist/server/lib/squoosh/webp/enc.wasm",
        "dist/server/lib/squoosh/impl.d.ts",
    ):
        built.write(package / name, "")
    config = '{"a":"\\"output\\":\\"standalone\\",","output":"standalone","b":1}'
    built.write(built.standalone / "server.js", f"const nextConfig = {config}\n")
    if sharp:
        built.json(built.dist / "standalone/node_modules/sharp/package.json", {})
    files = {file.path: file for file in built.trace().files}
    taken = [path for path in files if "squoosh" in path]
    assert taken == (
        [f"node_modules/next/dist/server/lib/squoosh/{name}" for name in ("impl.js", "webp/enc.wasm")] if brings else []
    )
    server = Path(next(file.source for path, file in files.items() if path.endswith("server.js"))).read_text()
    assert server == (
        f"const nextConfig = {config}\n".replace('"output":"standalone",', "", 1)
        if brings
        else f"const nextConfig = {config}\n"
    )
