"""What deployd lists for a Node.js server is exactly what @vercel/nft lists, called directly, on entries of every kind."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deployd.domain.ids import BuildId
from deployd.domain.options import Trace
from deployd.domain.stages import BuildOutput, BuildPlan, FileSet
from deployd.errors import PackageError
from deployd.stages import trace
from deployd.stages.trace import analysis, programs

SERVER = """
const express = require("express"); const path = require("path"); const fs = require("fs");
const settings = require("./data/settings.json");
const plugin = require("./plugins/" + (process.env.PLUGIN || "a"));
const app = express();
app.get("/", (q, r) => r.send(fs.readFileSync(path.join(__dirname, "views", "index.html"))));
app.listen(process.env.PORT);
"""
FILES = {
    "server.js": SERVER,
    "data/settings.json": '{"a": 1}',
    "plugins/a.js": "module.exports = 'a'",
    "plugins/b.js": "module.exports = 'b'",
    "views/index.html": "<p>hello</p>",
    "notes.txt": "not needed",
    "esm/main.mjs": """
import { thing } from "./thing.js"; import data from "./data.json" with { type: "json" };
const late = await import("ms"); export default [thing, data, late, new URL("./asset.txt", import.meta.url)];
""",
    "esm/package.json": '{"type": "module"}',
    "esm/thing.js": 'export { thing } from "conditional";',
    "esm/data.json": "[]",
    "esm/asset.txt": "an asset",
    "node_modules/conditional/package.json": json.dumps({
        "name": "conditional", "version": "1.0.0",
        "exports": {"special": "./special.mjs", "import": "./esm.mjs", "require": "./cjs.js"},
    }),
    "node_modules/conditional/special.mjs": "export const thing = 'special'",
    "node_modules/conditional/esm.mjs": "export const thing = 'esm'",
    "node_modules/conditional/cjs.js": "exports.thing = 'cjs'",
    "native.js": "const { deflate } = require('bindings-like'); deflate();",
    "node_modules/bindings-like/package.json": '{"name": "bindings-like", "version": "1.0.0"}',
    "node_modules/bindings-like/index.js": """
const path = require("path"); module.exports = require(path.join(__dirname, "build", "Release", "addon.node"));
""",
    "node_modules/bindings-like/build/Release/addon.node": "\\x7fELF",
    "linked.js": "require('linked/deep.js')",
    "node_modules/.pnpm/linked@1.0.0/node_modules/linked/package.json": '{"name": "linked", "version": "1.0.0"}',
    "node_modules/.pnpm/linked@1.0.0/node_modules/linked/deep.js": "require('below')",
    "node_modules/.pnpm/below@1.0.0/node_modules/below/package.json": '{"name": "below", "version": "1.0.0"}',
    "node_modules/.pnpm/below@1.0.0/node_modules/below/index.js": "module.exports = 1",
    "up.js": "require('../outside.js'); require('./plugins/a')",
}  # fmt: skip
ENTRIES = ["server.js", "esm/main.mjs", "native.js", "linked.js", "up.js", "started.js", "by/a.js"]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tools")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("entries") / "app"
    folder.mkdir()
    (folder.parent / "outside.js").write_text("module.exports = 'outside'")
    (folder / "package.json").write_text('{"dependencies": {"express": "4.21.2"}}')
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--silent", "--ignore-scripts"], cwd=folder, check=True
    )
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "started.js").symlink_to("esm/thing.js")
    (folder / "by").symlink_to("plugins")
    store = "node_modules/.pnpm/linked@1.0.0/node_modules"
    (folder / "node_modules/linked").symlink_to(".pnpm/linked@1.0.0/node_modules/linked")
    (folder / store / "below").symlink_to("../../below@1.0.0/node_modules/below")
    return folder


def direct(tools: Path, entries: list[Path], **options: Any) -> list[str]:
    """The list that nft itself gives, called as its documentation says."""
    module = programs.tool(tools) / "@vercel" / "nft"
    code = (
        f"require({json.dumps(str(module))}).nodeFileTrace({json.dumps([str(path) for path in entries])},"
        f"{json.dumps(options)}).then(({{fileList}}) => console.log(JSON.stringify([...fileList])))"
    )
    done = subprocess.run(["node", "-e", code], capture_output=True, check=True)
    return sorted(json.loads(done.stdout))


def paths(files: FileSet) -> list[str]:
    return [file.path for file in files.files]


def output(app: Path, entry: str, **fields: Any) -> BuildOutput:
    plan = BuildPlan(
        framework="node", framework_version=None, manager="npm", manager_version=None, install=(), command=(),
        node="22.23.3", lockfile="", lockfile_sha256="", build_id=BuildId("b" + "0" * 20),
    )  # fmt: skip
    return BuildOutput(
        root=str(app), app_dir=str(app), plan=plan, built=1, log="", seconds=0.0, kind="node", folder="",
        entries=(entry,), **fields,
    )  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_list_is_nfts_own(app: Path, tools: Path, entry: str) -> None:
    expected = direct(tools, [app / entry], base=str(app), processCwd=str(app))
    assert len(expected) > 1
    files = trace.trace_entries([app / entry], base=app, process_cwd=app, tools=tools)
    assert paths(files) == expected
    # a build runs on the pinned Node.js, which reads `module-sync` of package exports
    pinned = direct(tools, [app / entry], base=str(app), processCwd=str(app), conditions=["node", "module-sync"])
    assert paths(trace.trace(output(app, entry), tools=tools)) == pinned


def test_several_entries_and_nfts_options_give_nfts_list(app: Path, tools: Path) -> None:
    both = [app / "server.js", app / "esm/main.mjs"]
    for mine, theirs in (
        ({}, {}),
        ({"conditions": ["special", "node"]}, {"conditions": ["special", "node"]}),
        ({"ignore": ["plugins/**", "node_modules/send/**"]}, {"ignore": ["plugins/**", "node_modules/send/**"]}),
        ({"process_cwd": app / "esm"}, {"processCwd": str(app / "esm")}),
    ):
        expected = direct(tools, both, base=str(app), **theirs)
        assert paths(trace.trace_entries(both, base=app, tools=tools, **mine)) == expected
    wider = direct(tools, [app / "up.js"], base=str(app.parent))
    assert "outside.js" in wider
    assert paths(trace.trace_entries([app / "up.js"], base=app.parent, tools=tools)) == wider


def test_links_stay_links_and_their_files_are_there(app: Path, tools: Path) -> None:
    files = trace.trace_entries([app / "linked.js"], base=app, tools=tools)
    links = {file.path: file.symlink for file in files.files if file.symlink}
    assert links == {
        "node_modules/linked": ".pnpm/linked@1.0.0/node_modules/linked",
        "node_modules/.pnpm/linked@1.0.0/node_modules/below": "../../below@1.0.0/node_modules/below",
    }
    assert files.warnings == ()


def test_what_lies_outside_of_the_root_is_named(app: Path, tools: Path) -> None:
    files = trace.trace_entries([app / "up.js"], base=app, tools=tools)
    assert files.warnings == ("outside of the root of tracing, and left out: ../outside.js (imported)",)


def test_includes_are_added_and_excludes_taken_away(app: Path, tools: Path) -> None:
    plain = set(paths(trace.trace(output(app, "server.js"), tools=tools)))
    options = Trace(
        include=(("/api/*", ("notes.*",)), ("/*", ("esm/*.{json,txt}", "gone/**"))),
        exclude=(("/*", ("plugins/b*", "node_modules/qs/**")), ("/api/*", ("plugins/**",))),
    )
    files = trace.trace(output(app, "server.js"), options=options, tools=tools)
    gone = {path for path in plain if path.startswith("node_modules/qs/")} | {"plugins/b.js"}
    added = {"notes.txt", "esm/package.json", "esm/data.json", "esm/asset.txt"}
    assert set(paths(files)) == plain - gone | added
    assert list(files.warnings) == [
        'no file matches: trace.include, "/*": "gone/**"',
        'no route with a trace matches: trace.exclude, "/api/*": "plugins/**"',
    ]


def test_whole_folders_travel_beside_what_is_traced(app: Path, tools: Path) -> None:
    files = trace.trace(output(app, "server.js", include=("esm", "notes.txt", "nothing")), tools=tools)
    assert {"esm/asset.txt", "notes.txt", "views/index.html"} <= set(paths(files))
    with pytest.raises(PackageError) as caught:
        trace.trace(output(app, "server.js", include=("../outside.js",)), tools=tools)
    assert caught.value.code == "file-outside-root"


def test_the_way_from_the_entry_to_a_file(app: Path, tools: Path) -> None:
    files = trace.trace(output(app, "server.js"), tools=tools)
    assert trace.chain(files, "node_modules/debug/src/node.js", tools=tools) == (
        "server.js", "node_modules/express/index.js", "node_modules/express/lib/express.js",
        "node_modules/express/lib/application.js", "node_modules/debug/src/index.js", "node_modules/debug/src/node.js",
    )  # fmt: skip
    assert trace.chain(files, "server.js", tools=tools) == ("server.js",)


def test_an_app_in_a_workspace_is_traced_from_the_workspaces_root(app: Path, tools: Path, tmp_path: Path) -> None:
    top = tmp_path / "top"
    shutil.copytree(app / "node_modules", top / "node_modules", symlinks=True)
    web = top / "apps" / "web"
    (web / "src").mkdir(parents=True)
    (web / "src/main.js").write_text("require('ms'); require('../../shared')")
    (top / "apps/shared.js").write_text("")
    made = BuildOutput(**{
        **{name: getattr(output(web, "src/main.js"), name) for name in BuildOutput.__dataclass_fields__},
        "root": str(top),
    })  # fmt: skip
    files = trace.trace(made, options=Trace(root="."), tools=tools)
    assert files.entry == "apps/web/src/main.js"
    assert {"apps/shared.js", "apps/web/src/main.js", "node_modules/ms/index.js"} <= set(paths(files))
    assert files.root == str(top)
    with pytest.raises(PackageError) as caught:
        trace.trace(made, options=Trace(root="packages"), tools=tools)
    assert caught.value.code == "trace-root"


# What is wrong


def test_an_entry_that_is_not_there_is_named(app: Path, tools: Path) -> None:
    with pytest.raises(PackageError, match=r"gone\.js") as caught:
        trace.trace(output(app, "gone.js"), tools=tools)
    assert caught.value.code == "entry-missing"


def test_a_link_that_leads_to_itself_is_told(tmp_path: Path, tools: Path) -> None:
    (tmp_path / "x.js").write_text("require('./round')")
    (tmp_path / "round.js").symlink_to("other.js")
    (tmp_path / "other.js").symlink_to("round.js")
    try:
        files = trace.trace_entries([tmp_path / "x.js"], base=tmp_path, tools=tools)
    except PackageError as error:
        assert error.code == "symlink-loop"  # noqa: PT017 - either is an honest answer of nft's
    else:
        assert paths(files) == direct(tools, [tmp_path / "x.js"], base=str(tmp_path))


def test_a_link_out_of_the_root_is_refused_by_name(tmp_path: Path, tools: Path) -> None:
    (tmp_path / "app/lib").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("x")
    (tmp_path / "app/lib/evil.txt").symlink_to("../../secret.txt")
    (tmp_path / "app/x.js").write_text("require('fs').readFileSync(__dirname + '/lib/evil.txt')")
    expected = direct(tools, [tmp_path / "app/x.js"], base=str(tmp_path / "app"))
    assert "lib/evil.txt" in expected
    with pytest.raises(PackageError, match=r"evil\.txt") as caught:
        trace.trace_entries([tmp_path / "app/x.js"], base=tmp_path / "app", tools=tools)
    assert caught.value.code == "symlink-escapes"


def test_odd_names_survive(tmp_path: Path, tools: Path) -> None:
    odd = tmp_path / "odd"
    odd.mkdir()
    names = [b"new\nline.txt", b"quo\"te's.txt", "grün.txt".encode(), b"not-\xff-utf8.txt", b"$(x) `y`.txt"]
    for name in names:
        (Path(str(odd)) / name.decode(errors="surrogateescape")).write_bytes(b"x")
    (tmp_path / "x.js").write_text("require('fs').readFileSync(__dirname + '/odd/' + process.env.NAME)")
    found = {
        path for path in paths(trace.trace_entries([tmp_path / "x.js"], base=tmp_path, tools=tools)) if "odd" in path
    }
    assert found == {f"odd/{name.decode(errors='surrogateescape')}" for name in names}
    options = Trace(include=(("/*", ("odd/*",)),))
    (tmp_path / "y.js").write_text("1")
    included = trace.trace(output(tmp_path, "y.js"), options=options, tools=tools)
    assert {path for path in paths(included) if "odd" in path} == found


# The command


@pytest.fixture(scope="module")
def state(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    programs.tool(tools)
    folder = tmp_path_factory.mktemp("state")
    (folder / "caches").mkdir()
    (folder / "caches" / "tools").symlink_to(tools)
    return folder


def deployd(*words: str, state: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("deployd")), "trace", *words, "--state-dir", str(state)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_the_command_traces_any_entry_without_a_build(app: Path, tools: Path, state: Path) -> None:
    (app / "bytes").mkdir(exist_ok=True)
    Path(os.fsdecode(os.fsencode(app / "bytes") + b"/\xff.txt")).write_text("x")
    (app / "bytes.js").write_text(
        "require('fs').readFileSync(__dirname + '/bytes/' + process.env.NAME); require('linked')"
    )
    before = sorted(str(path) for path in app.rglob("*"))
    done = deployd("--entry", "server.js", "--entry", "bytes.js", "--base", ".", "--json", state=state, cwd=app)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    assert list(found) == ["root", "files", "warnings"]
    assert found["root"] == str(app)
    assert {tuple(file) for file in found["files"]} == {("path", "size", "symlink", "reasons")}
    assert {"bytes": base64.b64encode(b"bytes/\xff.txt").decode()} in [file["path"] for file in found["files"]]
    told = [file["path"] for file in found["files"] if isinstance(file["path"], str)]
    assert told == sorted(told)
    expected = direct(tools, [app / "server.js", app / "bytes.js"], base=str(app), processCwd=str(app))
    assert [path for path in told if not path.startswith("bytes/")] == [
        path for path in expected if not path.startswith("bytes/")
    ]
    links = {str(file["path"]): file["symlink"] for file in found["files"] if file["symlink"]}
    assert links["node_modules/linked"] == ".pnpm/linked@1.0.0/node_modules/linked"
    assert sorted(str(path) for path in app.rglob("*")) == before


def test_the_command_tells_why_and_what_is_heaviest(app: Path, state: Path) -> None:
    path = "node_modules/express/lib/express.js"
    why = deployd("--entry", "server.js", "--why", path, state=state, cwd=app)
    assert why.stdout.splitlines() == [
        path, "  imported by node_modules/express/index.js", "",
        "server.js", "  → node_modules/express/index.js", f"    → {path}",
    ]  # fmt: skip
    as_json = json.loads(deployd("--entry", "server.js", "--why", path, "--json", state=state, cwd=app).stdout)
    assert as_json["chain"] == ["server.js", "node_modules/express/index.js", path]

    shown = deployd("--entry", "server.js", state=state, cwd=app).stdout
    assert re.search(r"^iconv-lite +\d+ +\d+ kB$", shown, re.MULTILINE)
    assert re.search(r"^✓ \d+ files, 1\.\d MB$", shown, re.MULTILINE)
    tree = deployd("--entry", "server.js", "--tree", state=state, cwd=app).stdout
    assert re.search(r"^ +[\d.]+ [kM]B +node_modules/ +\d+$", tree, re.MULTILINE)


def test_the_command_takes_nfts_options(app: Path, tools: Path, state: Path) -> None:
    done = deployd("--entry", "esm/main.mjs", "--condition", "special", "--condition", "node", "--ignore", "node_modules/ms/**",
                   "--json", state=state, cwd=app)  # fmt: skip
    options = {"conditions": ["special", "node"], "ignore": ["node_modules/ms/**"]}
    expected = direct(tools, [app / "esm/main.mjs"], base=str(app), processCwd=str(app), **options)
    assert [file["path"] for file in json.loads(done.stdout)["files"]] == expected
    assert "node_modules/conditional/special.mjs" in expected
    gone = deployd("--entry", "gone.js", "--json", state=state, cwd=app)
    assert (gone.returncode, json.loads(gone.stderr.splitlines()[-1])["error"]["code"]) == (1, "entry-missing")
    assert deployd("--base", ".", state=state, cwd=app).returncode == 2


def test_sources_in_typescript_are_followed_through_their_types(tools: Path, tmp_path: Path) -> None:
    files = {
        "package.json": '{"type": "module"}',
        "main.ts": "import type { A } from 'gone'\nimport { b, type C } from './lib/b'\nexport enum W { X = 'x' }\nb as C\n",
        "lib/b.ts": "export const b: number = 1; import('./c.mts') as Promise<unknown>",
        "lib/c.mts": "class D<T> { constructor(private t: T) {} }\nimport { join } from 'node:path'\n"
        "join(import.meta.dirname, 'text.txt')\n",
        "lib/text.txt": "text",
        "lib/view.tsx": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = analysis.run(analysis.Wish(entries=("main.ts",), base=tmp_path), tools=tools)
    assert {"main.ts", "lib/b.ts", "lib/c.mts"} <= set(found.paths)
    assert "lib/view.tsx" not in found.paths


def test_aliases_of_tsconfig_are_followed_as_tsx_follows_them(tools: Path, tmp_path: Path) -> None:
    files = {
        "package.json": '{"type": "module"}',
        "tsconfig.base.json": '{"compilerOptions": {"baseUrl": "./src", "paths": {"@/*": ["*"], "conf": ["set/conf.ts"]}}}',
        "tsconfig.json": '{ // the app\'s\n  "extends": "./tsconfig.base.json", /* "x": */ "include": ["**//*.ts",], }',
        "src/main.ts": "import { a } from '@/lib/a.js'; import c from 'conf'; import { p } from 'plain'; import 'pkg'; a;c;p",
        "src/lib/a.ts": "export const a: number = 1; export * from '@/lib/deep'; const no = '@/never.js'",
        "src/lib/deep/index.ts": "export {}",
        "src/never.ts": "",
        "src/set/conf.ts": "export default 1",
        "src/plain.ts": "export const p = 1",
        "node_modules/pkg/index.js": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = analysis.run(analysis.Wish(entries=("src/main.ts",), base=tmp_path), tools=tools)
    wanted = {"src/lib/a.ts", "src/lib/deep/index.ts", "src/set/conf.ts", "src/plain.ts", "node_modules/pkg/index.js"}
    assert set(found.paths) == {"src/main.ts", "package.json", *wanted}
