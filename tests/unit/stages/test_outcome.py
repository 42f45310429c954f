"""What a build left, from the files that builds of each kind write; and what is said when they are not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployd.domain.artifact import StaticSite
from deployd.domain.ids import BuildId
from deployd.domain.stages import BuildPlan
from deployd.errors import BuildError
from deployd.stages.build import outcome, wrapper

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.stages.build.left import Left


def left(folder: Path, framework: str, files: Mapping[str, str], *, command: bool = True, **more: Any) -> Left:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    plan = BuildPlan(
        framework=framework, framework_version=None, manager="npm", manager_version=None, install=(),
        command=("npm", "run", "build") if command else (), node="22.23.3", lockfile="", lockfile_sha256="",
        build_id=BuildId("b" + "0" * 20), **more,
    )  # fmt: skip
    return outcome.find(plan, app_dir=folder, root=folder, log=Path("/log"))


def refused(folder: Path, framework: str, files: Mapping[str, str], **more: Any) -> BuildError:
    with pytest.raises(BuildError) as caught:
        left(folder, framework, files, **more)
    assert caught.value.fix
    return caught.value


def required(**config: Any) -> str:
    return json.dumps({"config": config, "relativeAppDir": "", "files": []})


PACKAGE = {"package.json": "{}"}
NEXT = PACKAGE | {".next/BUILD_ID": "x", ".next/required-server-files.json": required()}
IMPORTS = "const next = require('next')"


# Next.js


@pytest.mark.parametrize(
    ("files", "folder", "entries"),
    [
        (NEXT, ".next", ()),
        (PACKAGE | {"made/BUILD_ID": "x", "made/required-server-files.json": required()}, "made", ()),
        (PACKAGE | {"a/b/BUILD_ID": "x", "a/b/required-server-files.json": required()}, "a/b", ()),
        (NEXT | {"server.js": IMPORTS}, ".next", ("server.js",)),
        (NEXT | {"server.js": "nothing"}, ".next", ()),
        (NEXT | {"server.js": IMPORTS, "package.json": '{"scripts": {"start": "next start"}}'}, ".next", ()),
        (NEXT | {"s/x.js": IMPORTS, "package.json": '{"scripts": {"start": "node s/x"}}'}, ".next", ("s/x.js",)),
        (NEXT | {"server.js": IMPORTS, "package.json": '{"scripts": {"start": "next start", "prod": "node server"}}'},
         ".next", ()),
        (NEXT | {"node_modules/next/dist/bin/next": IMPORTS,
                 "package.json": '{"scripts": {"start": "node node_modules/next/dist/bin/next start"}}'}, ".next", ()),
        (NEXT | {"package.json": '{"scripts": {"start": "node .next/standalone/server.js"}}',
                 ".next/standalone/server.js": IMPORTS}, ".next", ()),
    ],
)  # fmt: skip
def test_next_with_its_own_server_or_the_apps(
    tmp_path: Path, files: dict[str, str], folder: str, entries: tuple[str, ...]
) -> None:
    found = left(tmp_path, "nextjs", files)
    assert (found.kind, found.folder, found.entries) == ("node" if entries else "next", folder, entries)


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ("next start -p ${PORT:-3000}", []),
        ("cross-env NODE_ENV=production PORT=80 next start", []),
        ("NODE_OPTIONS=--max-old-space-size=4096 next start", ["--max-old-space-size=4096:"]),
        ("dotenv -e .env.live -- next start", ["deployd env import .env.live"]),
    ],
)
def test_what_a_script_gives_to_nexts_own_server_is_told(tmp_path: Path, start: str, told: list[str]) -> None:
    found = left(tmp_path, "nextjs", NEXT | {"package.json": json.dumps({"scripts": {"start": start}})})
    assert (found.kind, found.entries, len(found.warnings)) == ("next", (), len(told)), found.warnings
    assert all(text in warning for text, warning in zip(told, found.warnings, strict=True)), found.warnings


@pytest.mark.parametrize(
    ("start", "lines", "told"),
    [
        ("APP_ENV=live npx next start", ['process.env["APP_ENV"] ??= "live";'], []),
        ("WHO=me node .next/standalone/server.js", ['process.env["WHO"] ??= "me";'], []),
        ("npm run serve:next", ['process.env["A"] ??= "1";', 'process.env["B"] ??= "2";'], []),
        (
            "NODE_OPTIONS='-r ./tracing.cjs' next start",
            ['process.env["NODE_OPTIONS"] ??= "-r ./tracing.cjs";', 'require("./tracing.cjs");'],
            [],
        ),
        (
            'NODE_OPTIONS="$NODE_OPTIONS --import ./a.mjs --max-old-space-size=99" next start',
            ['  await import("./a.mjs");'],
            ["--max-old-space-size=99:"],
        ),
        ("node --require newrelic node_modules/next/dist/bin/next start", ['require("newrelic");'], []),
    ],
)
def test_what_a_script_loads_or_sets_before_nexts_own_server(
    tmp_path: Path, start: str, lines: list[str], told: list[str]
) -> None:
    package = json.dumps({"scripts": {"start": start, "serve:next": "A=1 B=2 next start"}})
    found = left(tmp_path, "nextjs", NEXT | {"package.json": package})
    assert (found.kind, found.entries) == ("next", (wrapper.NAME,))
    assert [text in warning for text, warning in zip(told, found.warnings, strict=True)] == [True] * len(told)
    written = (tmp_path / wrapper.NAME).read_text()
    assert set(lines) <= {*written.splitlines()}
    assert 'join(__dirname, "server.js")' in written


def test_the_entry_of_deployd_toml_is_a_custom_server(tmp_path: Path) -> None:
    assert left(tmp_path, "nextjs", NEXT | {"go.js": ""}, entry="go.js").entries == ("go.js",)
    assert "gone.js" in refused(tmp_path, "nextjs", NEXT, entry="gone.js").what


def test_an_export_that_asks_a_server_for_images_is_told(tmp_path: Path) -> None:
    files = NEXT | {
        ".next/required-server-files.json": required(output="export"),
        "out/index.html": "<img src='/a.png'>",
    }
    assert left(tmp_path / "a", "nextjs", files).warnings == ()
    files |= {"out/docs/a.html": '<img srcSet="/docs/_next/image?url=%2Fa.png&amp;w=64">'}
    (told,) = left(tmp_path / "b", "nextjs", files).warnings
    assert "docs/a.html" in told
    assert "images.unoptimized" in told


def test_an_export_is_a_site(tmp_path: Path) -> None:
    config = required(output="export", trailingSlash=True, basePath="/docs")
    found = left(
        tmp_path,
        "nextjs",
        NEXT | {".next/required-server-files.json": config, "out/404.html": "", "out/_next/static/x.js": ""},
    )
    assert found.static == StaticSite(folder="out", trailing_slash=True, not_found="docs/404.html")
    assert (found.kind, found.base, dict(found.assets)) == (
        "static",
        "docs",
        {"/docs/_next/static": "out/_next/static"},
    )


@pytest.mark.parametrize(
    ("manifest", "content", "lost"),
    [
        ("server/functions-config-manifest.json", {"functions": {"/_middleware": {}}}, "proxy (middleware)"),
        ("server/middleware-manifest.json", {"middleware": {"/": {}}}, "proxy (middleware)"),
        ("routes-manifest.json", {"headers": [{}], "redirects": [{}]}, "headers, redirects"),
        ("routes-manifest.json", {"rewrites": {"beforeFiles": [], "afterFiles": [{}]}}, "rewrites"),
        ("routes-manifest.json", {"redirects": [{"internal": True}], "rewrites": [], "headers": []}, None),
    ],
)
def test_an_export_says_what_it_leaves_out(
    tmp_path: Path, manifest: str, content: dict[str, object], lost: str | None
) -> None:
    files = {".next/required-server-files.json": required(output="export"), "out/index.html": ""}
    found = left(tmp_path, "nextjs", NEXT | files | {f".next/{manifest}": json.dumps(content)})
    assert bool(found.warnings) is bool(lost)
    assert not lost or f"only a server does: {lost};" in found.warnings[0]


def test_an_export_answers_below_its_asset_prefix_too(tmp_path: Path) -> None:
    config = required(output="export", assetPrefix="/cdn/")
    files = NEXT | {".next/required-server-files.json": config, "out/_next/static/x.js": ""}
    where = "out/_next/static"
    assert dict(left(tmp_path, "nextjs", files).assets) == {"/_next/static": where, "/cdn/_next/static": where}


def test_a_build_that_ends_well_and_leaves_nothing(tmp_path: Path) -> None:
    error = refused(tmp_path, "nextjs", PACKAGE | {".next/cache/x": ""})
    assert (error.code, "build.output" in error.fix) == ("build-output-missing", True)
    export = NEXT | {".next/required-server-files.json": required(output="export")}
    assert "exported files" in refused(tmp_path, "nextjs", export).what


# Sites


@pytest.mark.parametrize(
    ("files", "more", "site"),
    [
        ({"index.html": "", "a.html": "", "404.html": ""}, {"command": False}, StaticSite(folder=".", not_found="404.html")),
        ({"index.html": ""}, {"command": False}, StaticSite(folder=".")),
        ({"public/index.html": ""}, {"command": False}, StaticSite(folder="public")),
        ({"dist/index.html": "", "dist/a/index.html": ""}, {}, StaticSite(folder="dist", trailing_slash=True)),
        ({"dist/index.html": "", "dist/a.html": "", "dist/b/index.html": ""}, {}, StaticSite(folder="dist")),
        ({"out/index.html": "", "x/index.html": ""}, {"output": "x"}, StaticSite(folder="x")),
        ({"dist/index.html": "", "package.json": '{"devDependencies": {"vite": "7"}}'}, {},
         StaticSite(folder="dist", fallback="index.html")),
        ({"dist/index.html": "", "dist/404.html": "", "package.json": '{"devDependencies": {"vite": "7"}}'}, {},
         StaticSite(folder="dist", not_found="404.html")),
        ({"www/index.html": "", "vite.config.js": "build: { outDir: './www' }", "dist/index.html": ""}, {},
         StaticSite(folder="www")),
        ({"dist/shop/browser/index.html": "", "package.json": '{"dependencies": {"@angular/core": "20"}}'}, {},
         StaticSite(folder="dist/shop/browser", fallback="index.html")),
        ({"build/index.html": "", "build/200.html": ""}, {}, StaticSite(folder="build", fallback="200.html")),
        ({"dist/index.html": '<script src="/docs/assets/a.js">', "dist/assets/a.js": "", "dist/404.html": ""}, {},
         StaticSite(folder="dist", not_found="docs/404.html")),
        ({"dist/index.html": '<img src="/api/a.png"><script src="/gone.js">', "dist/a.png": ""}, {}, StaticSite(folder="dist")),
        ({"dist/index.html": '<script src="/assets/a.js">', "dist/assets/a.js": ""}, {}, StaticSite(folder="dist")),
        ({"made/index.html": "", "package.json": '{"scripts": {"build": "x", "start": "serve -s -l $PORT made"}}'}, {},
         StaticSite(folder="made", fallback="index.html")),
    ],
)  # fmt: skip
def test_sites(tmp_path: Path, files: dict[str, str], more: dict[str, Any], site: StaticSite) -> None:
    assert left(tmp_path, "static", files, **more).static == site


def test_a_site_without_a_page_names_where_it_was_looked_for(tmp_path: Path) -> None:
    error = refused(tmp_path, "static", PACKAGE | {"dist/app.js": ""})
    assert error.code == "build-output-missing"
    assert "dist" in error.what
    assert "build.output" in error.fix


def test_a_folder_that_is_a_link_out_of_the_app_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "index.html").write_text("")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "dist").symlink_to("../elsewhere")
    assert refused(tmp_path / "app", "static", PACKAGE).code == "build-output-outside"


# Servers


@pytest.mark.parametrize(
    ("files", "more", "entry", "folder"),
    [
        ({"package.json": '{"scripts": {"start": "node dist/main"}}', "dist/main.js": ""}, {}, "dist/main.js", "dist"),
        ({"package.json": '{"main": "lib/x.js"}', "lib/x.js": ""}, {"command": False}, "lib/x.js", ""),
        (PACKAGE | {"server.js": "", "index.js": ""}, {"command": False}, "server.js", ""),
        (PACKAGE | {"server.js": "", "a.js": ""}, {"entry": "a.js"}, "a.js", ""),
        (
            {"package.json": '{"scripts": {"start": "node bin/x.js"}}', "bin/x.ts": "", "build/bin/x.js": ""},
            {},
            "build/bin/x.js",
            "build",
        ),
    ],
)
def test_plain_servers(tmp_path: Path, files: dict[str, str], more: dict[str, Any], entry: str, folder: str) -> None:
    found = left(tmp_path, "node", files | {"public/x": "", "views/y": ""}, **more)
    assert (found.entries, found.folder, found.include) == ((entry,), folder, ("public", "views", "package.json"))


def test_what_runs_typescript_finds_its_settings(tmp_path: Path) -> None:
    files = {
        "package.json": '{"scripts": {"start": "tsx src/x.ts"}}',
        "src/x.ts": "",
        "tsconfig.json": '{"extends": "@tsconfig/node22/tsconfig.json"}',
        "node_modules/@tsconfig/node22/tsconfig.json": "{}",
    }
    found = left(tmp_path, "node", files)
    assert found.entries == (wrapper.NAME, "src/x.ts")
    assert found.include == ("package.json", "tsconfig.json", "node_modules/@tsconfig/node22/tsconfig.json")


def test_a_server_that_nothing_names(tmp_path: Path) -> None:
    error = refused(tmp_path, "node", {"package.json": '{"scripts": {"start": "node dist/main"}}'})
    assert "dist/main" in error.what
    assert "build.entry" in error.fix
    assert "scripts.start" in refused(tmp_path / "b", "node", PACKAGE).what


def test_variables_of_pm2s_own_file_are_set(tmp_path: Path) -> None:
    said = """module.exports = { apps: [{ script: "./api.js", env: { NODE_ENV: "development", A: "dev", N: 3 },
      env_production: { NODE_ENV: "production", "A": 'live', PORT: 80 } }, { script: "other.js", env: { B: "no" } }] };"""
    files = {"package.json": '{"scripts": {"start": "pm2-runtime start eco.config.cjs"}}', "eco.config.cjs": said}
    assert left(tmp_path, "node", files | {"api.js": ""}).entries == (wrapper.NAME, "api.js")
    set_in = [line for line in (tmp_path / wrapper.NAME).read_text().splitlines() if "process.env[" in line]
    assert set_in == ['process.env["A"] ??= "live";', 'process.env["N"] ??= "3";']


def test_a_wrapper_lies_in_the_package_that_its_server_is_of(tmp_path: Path) -> None:
    files = {
        "package.json": '{"workspaces": ["api"], "scripts": {"start": "npm start -w api"}}',
        "api/package.json": '{"name": "api", "scripts": {"start": "tsx -r ./boot.cjs src/x.ts"}}',
        "api/src/x.ts": "",
    }
    assert left(tmp_path, "node", files).entries == (f"api/{wrapper.NAME}", "api/src/x.ts")
    made = (tmp_path / "api" / wrapper.NAME).read_text()
    assert "process.chdir(__dirname)" in made
    assert 'require("node:path").join(__dirname, "src/x.ts")' in made
    assert 'require("./boot.cjs")' in made


def test_options_of_node_that_get_lost_are_told(tmp_path: Path) -> None:
    files = {
        "package.json": '{"scripts": {"start": "node --loader ./o.mjs --env-file=.env --max-old-space-size=1 s.js"}}',
        "s.js": "",
    }
    lost, env = left(tmp_path, "node", files).warnings
    assert "gives Node.js --max-old-space-size=1:" in lost
    assert "NODE_OPTIONS" in lost
    assert "deployd env import .env" in env


@pytest.mark.parametrize(
    ("framework", "files", "entry", "assets"),
    [
        ("nuxt", {".output/nitro.json": '{"preset": "node-server"}', ".output/server/index.mjs": "", ".output/public/_nuxt/x": ""},
         ".output/server/index.mjs", {"/_nuxt": ".output/public/_nuxt"}),
        ("astro", {"dist/server/entry.mjs": "", "dist/client/_astro/x": ""}, "dist/server/entry.mjs",
         {"/_astro": "dist/client/_astro"}),
        ("astro", {"dist/server/entry.mjs": "", "run.mjs": "", "package.json": '{"scripts": {"start": "node run.mjs"}}'},
         "run.mjs", {}),
        ("sveltekit", {"build/index.js": "", "build/handler.js": "", "go.js": "",
                       "package.json": '{"scripts": {"start": "node go.js"}}'}, "go.js", {}),
        ("react-router", PACKAGE | {"server.js": "", "package.json": '{"scripts": {"start": "node server.js"}}',
                                    "build/server/index.js": ""}, "server.js", {}),
    ],
)  # fmt: skip
def test_frameworks_with_a_server(
    tmp_path: Path, framework: str, files: dict[str, str], entry: str, assets: dict[str, str]
) -> None:
    found = left(tmp_path, framework, files)
    assert (found.kind, found.entries, dict(found.assets)) == ("node", (entry,), assets)


@pytest.mark.parametrize(
    ("files", "entry"),
    [
        ({"build/index.js": "", "build/handler.js": ""}, "build/index.js"),
        ({"made/index.js": "", "made/handler.js": "", "svelte.config.js": "adapter({ out: 'made' })"}, "made/index.js"),
    ],
)
def test_sveltekit_is_told_to_believe_the_web_server(tmp_path: Path, files: dict[str, str], entry: str) -> None:
    assert left(tmp_path, "sveltekit", files).entries == (wrapper.NAME, entry)
    assert 'process.env["PROTOCOL_HEADER"] ??= "x-forwarded-proto"' in (tmp_path / wrapper.NAME).read_text()


@pytest.mark.parametrize(
    ("framework", "files", "site"),
    [
        ("nuxt", {".output/public/index.html": "", ".output/public/a/index.html": "", ".output/public/200.html": ""},
         StaticSite(folder=".output/public", fallback="200.html")),
        ("astro", {"dist/index.html": "", "dist/a/index.html": ""}, StaticSite(folder="dist", trailing_slash=True)),
        ("astro", {"dist/index.html": "", "dist/a/index.html": "", "astro.config.mjs": "trailingSlash: 'never'"},
         StaticSite(folder="dist")),
        ("sveltekit", {"build/index.html": "", "build/a.html": ""}, StaticSite(folder="build")),
        ("react-router", PACKAGE | {"build/client/index.html": ""}, StaticSite(folder="build/client", fallback="index.html")),
    ],
)  # fmt: skip
def test_frameworks_that_left_pages(tmp_path: Path, framework: str, files: dict[str, str], site: StaticSite) -> None:
    assert left(tmp_path, framework, files).static == site


@pytest.mark.parametrize(
    ("framework", "files", "fix"),
    [
        ("nuxt", {".output/nitro.json": '{"preset": "vercel"}'}, "node-server"),
        ("astro", {"dist/server/entry.mjs": "", "astro.config.mjs": "node({ mode: 'middleware' })"}, "standalone"),
        ("astro", {".vercel/output/x": ""}, "@astrojs/node"),
        ("sveltekit", {".svelte-kit/output/x": ""}, "adapter-node"),
    ],
)
def test_other_platforms_adapters_are_named_with_the_way_out(
    tmp_path: Path, framework: str, files: dict[str, str], fix: str
) -> None:
    error = refused(tmp_path, framework, files)
    assert (error.code, fix in error.fix) == ("adapter-unsupported", True)


def test_a_server_that_is_a_packages_command_gets_a_file_that_starts_it(tmp_path: Path) -> None:
    files = {
        "package.json": '{"scripts": {"start": "react-router-serve ./build/server/index.js"}}',
        "build/server/index.js": "",
        "node_modules/@react-router/serve/package.json": '{"bin": {"react-router-serve": "bin.js"}}',
        "node_modules/@react-router/serve/bin.js": "",
    }
    found = left(tmp_path, "react-router", files)
    assert found.entries == (wrapper.NAME, "node_modules/@react-router/serve/bin.js", "build/server/index.js")
    text = (tmp_path / wrapper.NAME).read_text()
    assert '"node_modules/@react-router/serve/bin.js"), "./build/server/index.js")' in text
    (tmp_path / "node_modules/@react-router/serve/package.json").unlink()
    assert refused(tmp_path, "react-router", {}).code == "build-output-missing"


def test_in_a_monorepo_the_server_runs_in_its_own_folder(tmp_path: Path) -> None:
    files = PACKAGE | {"server.js": "", "sub/x": ""}
    found = left(tmp_path, "node", files, trace_root=str(tmp_path.parent))
    assert found.entries == (wrapper.NAME, "server.js")
    assert "process.chdir(__dirname)" in (tmp_path / wrapper.NAME).read_text()
