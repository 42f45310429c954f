"""The file that starts a server as its script does, run by a real Node.js."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from deployd.stages.build import starting

if TYPE_CHECKING:
    from pathlib import Path

SERVER = """
console.log(JSON.stringify({ argv: process.argv.slice(2), main: require.main === module, cwd: process.cwd(),
  env: { WHO: process.env.WHO, PORT: process.env.PORT, NODE_ENV: process.env.NODE_ENV }, early: globalThis.early }))
"""
MODULE = """
const { early } = globalThis
console.log(JSON.stringify({ argv: process.argv.slice(2), cwd: process.cwd(), env: { WHO: process.env.WHO }, early }))
"""


LOADER = """export async function load(url, context, next) {
  if (!url.endsWith(".words")) return next(url, context);
  return { format: "module", shortCircuit: true, source: `export default "made by the loader";` };
}
"""


def run(folder: Path, script: str, entry: str, **env: str) -> dict[str, Any]:
    (folder / "lib").mkdir()
    (folder / "server.js").write_text(SERVER)
    (folder / "lib" / "go.mjs").write_text(MODULE)
    (folder / "early.cjs").write_text("globalThis.early = [...globalThis.early ?? [], 'cjs']")
    (folder / "early.mjs").write_text("globalThis.early = [...globalThis.early ?? [], 'mjs']")
    entries, told = starting.entries({"scripts": {"start": script}}, entry, app_dir=folder)
    assert told == ()
    done = subprocess.run(
        ["node", folder / entries[0]], cwd="/", env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    told_by_server: dict[str, Any] = json.loads(done.stdout)
    return told_by_server


def test_variables_and_words_are_the_scripts(tmp_path: Path) -> None:
    script = "cross-env NODE_ENV=production WHO=${NAME:-nobody} node server --port $PORT 'two words' --on=${UNSET:-80}"
    told = run(tmp_path, script, "server.js", PORT="3000")
    assert told["argv"] == ["--port", "3000", "two words", "--on=80"]
    assert told["env"]["WHO"] == "nobody"
    assert (told["main"], told["cwd"]) == (True, str(tmp_path))


def test_the_environment_wins_over_the_scripts_variables(tmp_path: Path) -> None:
    told = run(tmp_path, "WHO=script PORT=80 node server.js x", "server.js", WHO="operator", PORT="3000")
    assert told["env"] == {"WHO": "operator", "PORT": "3000"}


def test_what_comes_first_is_loaded_first(tmp_path: Path) -> None:
    told = run(tmp_path, "node --import ./early.mjs -r ./early.cjs server.js", "server.js")
    assert told["early"] == ["cjs", "mjs"]


def test_node_options_are_the_servers_and_those_of_what_it_forks(tmp_path: Path) -> None:
    (tmp_path / "child.js").write_text("process.send(globalThis.early)")
    (tmp_path / "fork.js").write_text(
        "require('node:child_process').fork('child.js').on('message', (child) =>"
        " console.log(JSON.stringify({ early: globalThis.early, child })))"
    )
    told = run(tmp_path, "NODE_OPTIONS='-r ./early.cjs' node --import ./early.mjs fork.js", "fork.js")
    assert told == {"early": ["cjs", "mjs"], "child": ["cjs", "mjs"]}


def test_an_es_module_in_a_folder_of_its_own(tmp_path: Path) -> None:
    told = run(tmp_path, "cd lib && WHO=me node --import ../early.mjs go.mjs on", "lib/go.mjs")
    assert told == {"argv": ["on"], "cwd": str(tmp_path / "lib"), "env": {"WHO": "me"}, "early": ["mjs"]}


@pytest.mark.parametrize(
    "script", ["node server.js", "NODE_ENV=production PORT=80 node server", "pm2 start server.js -i 2"]
)
def test_where_nothing_is_said_no_file_is_made(tmp_path: Path, script: str) -> None:
    (tmp_path / "server.js").write_text("")
    assert starting.entries({"scripts": {"start": script}}, "server.js", app_dir=tmp_path) == (("server.js",), ())
    assert [path.name for path in tmp_path.iterdir()] == ["server.js"]


def test_a_loader_is_there_before_the_servers_imports(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "loader.mjs").write_text(LOADER)
    (tmp_path / "api" / "a.words").write_text("")
    (tmp_path / "api" / "go.mjs").write_text('import said from "./a.words"; console.log(said, process.argv[2]);')
    script = "cd api && node --loader ./loader.mjs go.mjs word"
    entries, told = starting.entries({"scripts": {"start": script}}, "api/go.mjs", app_dir=tmp_path)
    assert told == ()
    done = subprocess.run(["node", tmp_path / entries[0]], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout == "made by the loader word\n"
