"""What an app is made with: from package.json, the start script and the files, without anything installed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from deployd.errors import BuildError
from deployd.stages.build import framework, nextapp, startscript
from tests.support import sites

if TYPE_CHECKING:
    from pathlib import Path


def app(folder: Path, package: dict[str, Any] | None, *files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if package is not None:
        (folder / "package.json").write_text(json.dumps(package))
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


@pytest.mark.parametrize(
    ("site", "found", "tool"),
    [
        (sites.next_pages(), "nextjs", "Next.js"),
        (sites.next_custom(), "nextjs", "Next.js"),
        (sites.express(), "node", "Express"),
        (sites.fastify(), "node", "Fastify"),
        (sites.nest(), "node", "Nest"),
        (sites.vite(), "static", "Vite"),
        (sites.eleventy(), "static", "Eleventy"),
        (sites.plain(), "static", "static files"),
        (sites.nuxt(), "nuxt", "Nuxt"),
        (sites.astro(server=True), "astro", "Astro"),
        (sites.sveltekit(), "sveltekit", "SvelteKit"),
        (sites.react_router(), "react-router", "React Router"),
        (sites.monorepo(), "node", "Node.js"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_real_apps_are_known(tmp_path: Path, site: sites.Site, found: str, tool: str) -> None:
    detected = framework.detect(site.write(tmp_path))
    assert (detected.framework, detected.tool) == (found, tool)


@pytest.mark.parametrize(
    ("package", "files", "found"),
    [
        ({"main": "lib/index.js"}, ["lib/index.js"], "node"),
        ({"dependencies": {"koa": "2"}}, ["app.js"], "node"),
        ({"scripts": {"start": "node ."}, "main": "x.js"}, ["x.js"], "node"),
        ({"scripts": {"build": "make pages"}}, [], "static"),
        ({"devDependencies": {"vite": "7"}, "scripts": {"start": "vite"}}, ["index.html"], "static"),
        ({"devDependencies": {"vite": "7"}, "scripts": {"start": "node server.js"}}, ["server.js"], "node"),
        ({"devDependencies": {"vite": "7"}, "dependencies": {"express": "5"}}, ["server.js", "index.html"], "node"),
        ({"devDependencies": {"vite": "7", "express": "5"}}, ["server.js", "index.html"], "static"),
        (
            {"devDependencies": {"vite": "7"}, "scripts": {"preview": "cross-env A=1 node server"}},
            ["server.js"],
            "node",
        ),
        ({"devDependencies": {"vite": "7"}, "scripts": {"preview": "vite preview"}}, ["index.html"], "static"),
        ({"dependencies": {"fastify-cli": "7"}, "scripts": {"start": "fastify start -l info app.js"}}, [], "node"),
        ({"dependencies": {"@tanstack/react-start": "1"}, "devDependencies": {"vite": "7"}}, [], "node"),
        ({"devDependencies": {"nitro": "3"}}, [], "node"),
        ({"dependencies": {"next": "16", "express": "5"}}, [], "nextjs"),
        ({"dependencies": {"react-scripts": "5"}, "scripts": {"start": "react-scripts start"}}, [], "static"),
        ({}, ["public/index.html"], "static"),
        (None, ["index.html"], "static"),
    ],
)
def test_habits_decide_where_no_framework_does(tmp_path: Path, package: Any, files: list[str], found: str) -> None:
    assert framework.detect(app(tmp_path, package, *files)).framework == found


def test_deployd_toml_overrides(tmp_path: Path) -> None:
    root = app(tmp_path, {"dependencies": {"next": "16"}}, "index.html")
    assert framework.detect(root, said="static").framework == "static"
    assert framework.detect(app(tmp_path / "hoisted", {}), said="nextjs").build == ("next", "build")
    assert framework.detect(app(tmp_path / "bare", None, "index.js"), said="node").framework == "node"


def test_nothing_to_run_is_told_with_the_keys(tmp_path: Path) -> None:
    for package in ({"private": True}, {"devDependencies": {"prettier": "3"}}):
        with pytest.raises(BuildError) as caught:
            framework.detect(app(tmp_path, package))
        assert caught.value.code == "framework-unsupported"
        assert "build.entry" in caught.value.fix
    with pytest.raises(BuildError) as caught:
        framework.detect(app(tmp_path / "empty", None, "readme.txt"))
    assert caught.value.code == "package-json-missing"


def test_a_monorepos_top_names_its_apps(tmp_path: Path) -> None:
    root = app(tmp_path, {"workspaces": ["apps/*"], "main": "x.js"})
    app(tmp_path / "apps" / "web", {"dependencies": {"next": "16"}})
    app(tmp_path / "apps" / "api", {"scripts": {"start": "node main.js"}})
    app(tmp_path / "packages" / "ui", {"main": "index.js"})
    with pytest.raises(BuildError) as caught:
        framework.detect(root)
    assert caught.value.fix == "name the app's folder: apps/api, apps/web"


def test_a_package_json_that_is_a_link_to_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "package.json").symlink_to("package.json")
    with pytest.raises(BuildError) as caught:
        framework.detect(tmp_path)
    assert caught.value.code == "package-json-invalid"


# The start script


@pytest.mark.parametrize(
    ("scripts", "entry"),
    [
        ({"start": "node server.js"}, "server.js"),
        ({"start": "node ./server"}, "server.js"),
        ({"start": "NODE_ENV=production PORT=80 node dist/main"}, "dist/main.js"),
        (
            {"start": "cross-env NODE_ENV=production node -r dotenv/config --max-old-space-size=512 server.js"},
            "server.js",
        ),
        ({"start": "npm run migrate && node server.js", "migrate": "node migrate.js"}, "server.js"),
        ({"start": "npm run serve", "serve": "yarn prod", "prod": "node dist/main.js"}, "dist/main.js"),
        ({"start": "nest start", "start:prod": "node dist/main"}, "dist/main.js"),
        ({"start": "ng serve", "serve:ssr:shop": "node dist/shop/server/server.mjs"}, "dist/shop/server/server.mjs"),
        ({"start": "ts-node --project tsconfig.server.json server.ts"}, "server.ts"),
        ({"start": "tsx watch server.ts"}, "server.ts"),
        ({"start": "pm2 start server.js -i max"}, "server.js"),
        ({"start": "pm2-runtime server.js"}, "server.js"),
        ({"start": "pm2-runtime start eco.config.js"}, "dist/main.js"),
        ({"start": "nodemon --exec 'ts-node -P x.json' --delay 1 server.ts"}, "server.ts"),
        ({"start": "nodemon -x node pkg/."}, "pkg/lib/go.js"),
        ({"start": "nodemon server.js"}, "server.js"),
        ({"start": "node gone.js"}, "gone.js"),
        ({"start": "node pkg"}, "pkg/lib/go.js"),
        ({"start": "next start"}, None),
        ({"start": "npm run start"}, None),
        ({"start": "echo 'unbalanced"}, None),
        ({"start": "node"}, None),
        ({"build": "node build.js"}, None),
        ({}, None),
    ],
)
def test_the_file_that_a_start_script_runs(tmp_path: Path, scripts: dict[str, str], entry: str | None) -> None:
    app(tmp_path, None, "server.js", "server.ts", "dist/main.js", "migrate.js", "pkg/lib/go.js")
    (tmp_path / "pkg" / "package.json").write_text('{"main": "./lib/go.js"}')
    (tmp_path / "eco.config.js").write_text("module.exports = { apps: [{ name: 'x', script: './dist/main.js' }] }")
    assert startscript.entry({"scripts": scripts}, tmp_path) == entry


@pytest.mark.parametrize("start", ["ts-node x.ts", "ts-node -T x.ts", "nodemon --exec 'ts-node' x.ts"])
def test_ts_node_asks_no_types_of_packages_that_stay_behind(start: str) -> None:
    found = startscript.find({"scripts": {"start": start}})
    assert found is not None
    assert found.preloads == ("require ts-node/register/transpile-only",)
    found = startscript.find({"scripts": {"start": "node --loader ts-node/esm x.ts"}})
    assert found is not None
    assert (found.preloads, found.variables) == (("loader ts-node/esm",), (("TS_NODE_TRANSPILE_ONLY", "true"),))


def test_nodes_own_options_are_known(tmp_path: Path) -> None:
    package = {"scripts": {"start": "node --import ./otel.mjs --enable-source-maps server.js --port 1"}}
    start = startscript.find(package)
    assert start is not None
    assert (start.preloads, start.words, start.lost) == (("import ./otel.mjs",), ("--port", "1"), ())
    assert startscript.command({"scripts": {"start": "remix-serve ./build/x.js"}}, "remix-serve") == ("./build/x.js",)


def test_what_a_script_runs_before_the_server_is_known() -> None:
    scripts = {"db": "prisma migrate deploy", "x": "echo on; rm -rf tmp; node a.js"}
    start = startscript.find({"scripts": scripts | {"start": "npm run db && A=1 npm run x"}})
    assert start is not None
    assert (start.file, start.before, start.variables) == ("a.js", ("npm run db", "rm -rf tmp"), (("A", "1"),))


def test_an_import_is_followed_through_own_files(tmp_path: Path) -> None:
    (tmp_path / "server.js").write_text("import './lib/http.js'")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "http.ts").write_text("import { a } from '../server.js'\nconst next = require('next')")
    assert startscript.loads(tmp_path / "server.js", package="next")
    assert not startscript.loads(tmp_path / "server.js", package="nextra")


# Next.js


@pytest.mark.parametrize(
    ("wish", "good"),
    [
        ("16.4.6", True), ("^14", True), ("13.5.11", True), ("^13.1.0", True), ("latest", True), ("13.x", True),
        ("catalog:", True), (">=12", True), ("12.3.4", False), ("^12.0.0", False), ("~13.4.0", False), ("13.4.19", False),
    ],
)  # fmt: skip
def test_a_next_that_is_too_old_is_told_before_the_install(wish: str, good: bool) -> None:  # noqa: FBT001
    if good:
        nextapp.check_wish(wish)
        return
    with pytest.raises(BuildError) as caught:
        nextapp.check_wish(wish)
    assert caught.value.code == "next-unsupported"
    assert "13.5" in caught.value.fix


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        ("json-server db.json --port 3000", "node"),
        ("functions-framework --target=hi", "node"),
        ("strapi start", "node"),
        ("http-server ./pages -p $PORT", "static"),
        ("npx serve -s pages", "static"),
    ],
)
def test_a_packages_command_that_serves(tmp_path: Path, start: str, kind: str) -> None:
    (tmp_path / "package.json").write_text(json.dumps({"scripts": {"start": start}}))
    assert framework.detect(tmp_path).framework == kind
